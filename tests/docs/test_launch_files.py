"""What starts jaxgan elsewhere is what its own tools take: the Dockerfile, the JobSet, the shell scripts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jaxgan.commands.main import parser_of
from jaxgan.config.overrides import override
from jaxgan.config.presets import load_config

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAUNCH = ROOT / "scripts" / "launch"


def test_hadolint_has_nothing_to_say():
    # As pip installs it: beside the interpreter, which need not be on the path.
    folders = [os.path.dirname(sys.executable), *os.get_exec_path()]
    hadolint = shutil.which("hadolint", path=os.pathsep.join(folders))
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


def test_the_image_gets_all_that_the_wheel_is_made_of_and_extras_that_there_are():
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    copied = set(re.findall(r"[\w.]+", " ".join(re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.M))))
    assert copied == {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "jaxgan", "configs"}
    assert all((ROOT / name).exists() for name in copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied
    extras = setup["options.extras_require"]
    assert {"cuda", "tpu", *re.search(r'EXTRAS="(.*)"', DOCKERFILE)[1].split(",")} <= set(extras)


def test_the_jobset_is_what_kubernetes_takes():
    (jobset,) = yaml.safe_load_all((LAUNCH / "jobset.yaml").read_text())
    # https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2: the fields of a JobSet that are used here.
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    spec = jobset["spec"]
    assert set(spec) <= {"replicatedJobs", "network", "successPolicy", "failurePolicy", "startupPolicy", "suspend",
                         "coordinator", "managedBy", "ttlSecondsAfterFinished", "volumeClaimPolicies"}  # fmt: skip
    assert set(spec["failurePolicy"]) <= {"maxRestarts", "rules", "restartStrategy"}
    assert set(spec["network"]) <= {"enableDNSHostnames", "subdomain", "publishNotReadyAddresses"}
    (job,) = spec["replicatedJobs"]
    assert set(job) <= {"name", "template", "replicas", "groupName", "dependsOn"}
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": job["template"]["spec"]}
    kubernetes_validate.validate(whole, kubernetes_validate.latest_version(), strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**whole, "spec": {}}, kubernetes_validate.latest_version(), strict=True)
    pods = job["template"]["spec"]
    (container,) = pods["template"]["spec"]["containers"]
    assert container["command"][:2] == ["jaxgan", "train"]
    _, left = parser_of("train").parse_known_args(container["command"][2:])
    gpus = container["resources"]["limits"]["nvidia.com/gpu"] * pods["completions"]
    assert override(load_config("panda256"), left).train.batch_size % gpus == 0
    # The name under which the first pod is found: JOBSET-JOB-0-0.JOBSET, at the port that is open.
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    address = f"{jobset['metadata']['name']}-{job['name']}-0-0.{jobset['metadata']['name']}"
    assert environment["JAX_COORDINATOR_ADDRESS"] == f"{address}:{container['ports'][0]['containerPort']}"
    assert int(environment["JAX_NUM_PROCESSES"]) == pods["completions"] == pods["parallelism"]


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu_pod.sh"])
def test_scripts_are_shell(name):
    subprocess.run(["bash", "-n", LAUNCH / name], check=True, timeout=60)
    called = subprocess.run(["bash", LAUNCH / name, "mnist"], capture_output=True, text=True, timeout=60)
    assert called.returncode == 2 and called.stderr.startswith("usage: ") and called.stderr.count("\n") == 1
