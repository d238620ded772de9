"""The persistent compilation cache: a program compiled once by this user is not compiled again."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Any

import jax


def use_compilation_cache() -> Path | None:
    """Turns the cache on, in a private folder of this user, unless JAX was already told where it is.

    The folder is `$XDG_CACHE_HOME/jaxgan/xla` (`~/.cache/jaxgan/xla`); `JAX_COMPILATION_CACHE_DIR` names another, and
    `JAX_ENABLE_COMPILATION_CACHE=false` turns it off. Compiled programs are code that will be run: a folder that others
    may write to is refused.

    Returns:
      The folder in use, or None.
    """
    known: Any = jax.config  # Its options are attributes that no type checker sees.
    if known.jax_compilation_cache_dir or not known.jax_enable_compilation_cache:
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgan" / "xla"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
    except (OSError, RuntimeError) as error:
        warnings.warn(f"no compilation cache: {error}", stacklevel=2)
        return None
    if info.st_uid != os.getuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        warnings.warn(f"no compilation cache: {folder} must belong to you alone (chmod 700)", stacklevel=2)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder
