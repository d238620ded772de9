"""What a compiled program holds, read from its text: cuDNN's calls, collectives, cycles that the compiler expects.

An instruction in the body of a loop counts as often as the loop is known to run; loops of unknown length count once.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "f64": 8}
_COLLECTIVES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
# What a device computes with, as opposed to what moves, names or regroups arrays.
_WORK = {"fusion", "convolution", "dot", "custom-call", "while", "conditional", "call"}


class Instruction(NamedTuple):
    """One line of a program, how often it runs, and whether in a loop."""

    name: str
    operation: str
    text: str
    times: int
    looped: bool


class Call(NamedTuple):
    """A kind of call of cuDNN: e.g. ("convBackwardInput", "bf16", "strided"); the window is "unit", "strided" or
    "dilated"."""

    kind: str
    dtype: str
    window: str


def instructions(text: str) -> list[Instruction]:
    """All instructions that run by themselves: what is fused into another is part of it."""
    bodies, entry = _computations(text)
    runs: Counter[str] = Counter({entry: 1})
    looped: set[str] = set()
    found = []
    # Computations stand before those that call them, so backwards every caller comes first.
    for name in reversed(bodies):
        for instruction, operation, line in bodies[name] if runs[name] else ():
            found.append(Instruction(instruction, operation, line, runs[name], name in looped))
            for called, times in _called(operation, line, bodies):
                runs[called] += runs[name] * times
                looped |= {called} if operation == "while" or name in looped else set()
    return found


def _computations(text: str) -> tuple[dict[str, list[tuple[str, str, str]]], str]:
    bodies: dict[str, list[tuple[str, str, str]]] = {}
    entry = name = ""
    for line in text.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            name = header[2]
            entry = name if header[1] else entry
            bodies[name] = []
        elif found := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (?:\(.*?\)|\S+) ([\w\-]+)\(", line):
            bodies[name].append((found[1], found[2], line))
    return bodies, entry


def _first(pattern: str, line: str) -> str:
    """The group of a pattern that every line of this kind has."""
    found = re.search(pattern, line)
    if found is None:
        raise ValueError(f"no {pattern} in the compiler's text: {line.strip()[:200]}")
    return found[1]


def _called(operation: str, line: str, bodies: dict) -> Iterator[tuple[str, int]]:
    if operation == "while":
        yield _first(r"body=%?([\w.\-]+)", line), _trips(line, bodies)
    elif operation == "conditional":
        for group in re.findall(r"(?:branch_computations=\{|true_computation=|false_computation=)([^}=]*)", line):
            yield from ((name, 1) for name in re.findall(r"%([\w.\-]+)", group))
    elif operation in ("call", "async-start") and (found := re.search(r"(?:to_apply|calls)=%?([\w.\-]+)", line)):
        yield found[1], 1


def _trips(line: str, bodies: dict) -> int:
    """How often a loop runs: as its text says, or as its condition counts, from zero to a constant; else once."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', line):
        return int(known[1])
    condition = "\n".join(text for _, _, text in bodies[_first(r"condition=%?([\w.\-]+)", line)])
    below = re.search(r"compare\(%[\w.\-]+, %([\w.\-]+)\), direction=LT", condition)
    limit = below and re.search(rf"%{re.escape(below[1])} = \S+ constant\((\d+)\)", condition)
    return int(limit[1]) if limit else 1


def cudnn_calls(text: str) -> Counter[Call]:
    """Convolutions that cuDNN computes, by kind, dtype of the first operand, and window."""
    types = dict(re.findall(r"%(\S+) = (\w+)\[", text))
    calls: Counter[Call] = Counter()
    for _, operation, line, times, _ in instructions(text):
        target = re.search(r'custom_call_target="__cudnn\$(conv\w+)"', line)
        if operation == "custom-call" and target:
            first = _first(r"custom-call\((?:[^%)]*)%([\w.\-]+)", line)
            window = _first(r"window=\{([^}]*)\}", line)
            form = "dilated" if "dilate" in window else "strided" if "stride" in window else "unit"
            calls[Call(target[1], types.get(first, "?"), form)] += times
    return calls


def collectives(text: str) -> Counter[tuple[str, int, int]]:
    """Collectives by (kind, bytes of the result, operations that the device works on meanwhile).

    The text is in the order in which a device runs it: what stands between a collective's start and its end runs beside
    it. Where nothing does (0), the device waits.
    """
    found: Counter[tuple[str, int, int]] = Counter()
    program = instructions(text)
    for place, (name, operation, line, times, _) in enumerate(program, 1):
        if kind := re.fullmatch(rf"({_COLLECTIVES})(-start)?", operation):
            result = line.split(" = ", 1)[1].split(f" {operation}(")[0]
            arrays = re.findall(r"(\w+)\[([\d,]*)\]", result)
            size = sum(_BYTES.get(dtype, 4) * prod(map(int, filter(None, shape.split(",")))) for dtype, shape in arrays)
            waits = not kind[2] or '"is_sync":true' in line
            found[kind[1], size, 0 if waits else _beside(program[place:], name)] += times
    return found


def _beside(following: list[Instruction], name: str) -> int:
    """How many operations of work stand before the end of the collective that `name` starts."""
    end = re.compile(rf"-done\(.*%{re.escape(name)}(?![\w.\-])")
    between = itertools.takewhile(lambda instruction: not end.search(instruction.text), following)
    return sum(i.operation in _WORK and '"AllocateBuffer"' not in i.text for i in between)


def looped_copies(text: str) -> Counter[str]:
    """Arrays that are copied whole in a loop, such as "f32[4,4,1,8]": memory moved for nothing.

    What a TPU fetches into its own memory in the background (`copy-start`) is none of them.
    """
    found: Counter[str] = Counter()
    for _, operation, line, times, looped in instructions(text):
        if looped and operation == "copy":
            found[_first(r" = \(?(\w+\[[\d,]*\])", line)] += times
    return found


def estimated_cycles(text: str) -> dict[str, int]:
    """Cycles that the TPU compiler expects, by layer ("Critic/down0"), largest first; "other" for the rest.

    It expects nothing of copies in the background, of collectives and of scalars: this ranks, it is no time.
    """
    cycles: defaultdict[str, int] = defaultdict(int)
    for _, _, line, times, _ in instructions(text):
        if expected := re.search(r'"estimated_cycles":"(\d+)"', line):
            # A layer made in another method than `__call__` stands behind its name: "Critic/Critic.scores/score". What
            # lies between layers has a name of its own: "Critic/jit(leaky_relu)/mul".
            scope = re.search(r'op_name="[^"]*?(Generator|Critic)\)*/(?:\1\.\w+\)*/)*(?:jit\()?(\w+)', line)
            cycles[f"{scope[1]}/{scope[2]}" if scope else "other"] += times * int(expected[1])
    return dict(sorted(cycles.items(), key=lambda item: -item[1]))
