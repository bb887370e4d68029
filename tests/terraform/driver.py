"""Terraform as a user runs it, on a copy of terraform/: no state, lock file or plug-in ends up in the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, TypeGuard

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "terraform"
MODULES = sorted(path.parent.relative_to(SOURCE).as_posix() for path in SOURCE.glob("modules/*/versions.tf"))
ROOTS = ["aws", "localstack"]
# Seconds. An apply waits for AWS's eventual consistency even where there is none; a CI machine may be slow besides.
TIMEOUT = 600.0
INSTALL = "https://developer.hashicorp.com/terraform/install"
# What plans without any endpoint need; and a MiniStack knows buckets by path only.
OFFLINE = """\
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = %s
}
"""


class TerraformError(Exception):
    """Terraform ended with an error; the message is what it said."""


class Workspace:
    """One root, or one module taken as a root, with a state of its own."""

    def __init__(self, directory: Path, root: str, environment: dict[str, str] | None = None) -> None:
        shutil.copytree(SOURCE, directory / "terraform", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        self.path = directory / "terraform" / root
        # without the caller's AWS settings and Terraform switches, except where plug-ins come from
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "TF_")) or name == "TF_CLI_CONFIG_FILE"
        }
        self._environment = kept | {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"} | (environment or {})
        self.seconds: dict[str, float] = {}

    def run(self, *arguments: str, ok: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """One command, timed under its first word. Raises TerraformError when it ends with another status than `ok`."""
        begun = time.monotonic()
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.path,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.seconds[arguments[0]] = self.seconds.get(arguments[0], 0) + time.monotonic() - begun
        if done.returncode not in ok:
            raise TerraformError(f"terraform {arguments[0]} in {self.path.name}: {done.stdout[-3000:]}{done.stderr}")
        return done

    def init(self) -> None:
        self.run("init", "-input=false", "-no-color", "-backend=false")

    def plan(self, variables: dict[str, Any]) -> dict[str, Any]:
        """What a plan would do, as `terraform show -json` says it; empty when it would do nothing."""
        common = ("-input=false", "-no-color", "-detailed-exitcode", "-out=plan")
        if self.run("plan", *common, *_set(variables), ok=(0, 2)).returncode == 0:
            return {}
        shown: dict[str, Any] = json.loads(self.run("show", "-json", "plan").stdout)
        return shown

    def apply(self, variables: dict[str, Any]) -> str:
        """Terraform's last word: how many resources were added."""
        said = self.run("apply", "-input=false", "-no-color", "-auto-approve", *_set(variables)).stdout
        return _last_word(said, "Apply complete!")

    def destroy(self, variables: dict[str, Any]) -> str:
        said = self.run("destroy", "-input=false", "-no-color", "-auto-approve", *_set(variables)).stdout
        return _last_word(said, "Destroy complete!")

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("output", "-json").stdout)
        return {name: each["value"] for name, each in found.items()}

    def offline(self, *, account: bool = False) -> None:
        """Give it a provider that does not ask for the account; with `account` it asks STS."""
        name = "override.tf" if self.path.name in ROOTS else "provider.tf"
        (self.path / name).write_text(OFFLINE % ("false" if account else "true"))


def unavailable(directory: Path) -> str | None:
    """Why Terraform or its AWS provider cannot be had here, with what mends it; or None."""
    if not shutil.which("terraform"):
        return f"terraform is not on PATH; install it: {INSTALL}"
    try:
        Workspace(directory, "localstack").init()
    except TerraformError as error:
        reason = " ".join(re.sub(r"[│╷╵]", " ", str(error)).split())
        return (
            f"terraform cannot get hashicorp/aws; see why: terraform -chdir=terraform/localstack init ({reason[:300]})"
        )
    return None


def changes(plan: dict[str, Any]) -> dict[str, set[str]]:
    """Address -> the attributes a plan would change, or {"create"}, {"delete"}; what it leaves alone is not there.

    Of what would be replaced: the attributes, but for those that AWS will choose, and each reason as `replace:<path>`.
    """
    found = {}
    for each in plan.get("resource_changes", []):
        change = each["change"]
        if change["actions"] in (["no-op"], ["read"]):
            continue
        if None in (change["before"], change["after"]):
            found[each["address"]] = set(change["actions"])
            continue
        before, after = change["before"], change["after"]
        unknown = {name for name, value in change["after_unknown"].items() if value is True}
        if change["actions"] == ["update"]:
            found[each["address"]] = set(_differing(before, after, unknown))
        else:
            reasons = {"replace:" + ".".join(map(str, path)) for path in change.get("replace_paths", [])}
            found[each["address"]] = set(_differing(_known(before, change["after_unknown"]), after, set())) | reasons
    return found


def _differing(before: dict[str, Any], after: dict[str, Any], unknown: set[str]) -> list[str]:
    """Names of attributes; those of a block as block.attribute."""
    names = []
    for name in sorted(before.keys() | after.keys() | unknown):
        one, other = before.get(name), after.get(name)
        if name not in unknown and one == other:
            continue
        if _is_block(one) and _is_block(other):
            names += [f"{name}.{inner}" for inner in _differing(one[0], other[0], set())]
        else:
            names.append(name)
    return names


def _known(value: dict[str, Any], unknown: dict[str, Any]) -> dict[str, Any]:
    """Without what Terraform does not know yet of the one that will take its place."""
    found = {}
    for name, item in value.items():
        new = unknown.get(name)
        if new is not True:
            found[name] = [_known(item[0], new[0])] if _is_block(item) and _is_block(new) else item
    return found


def _is_block(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)


def _set(variables: dict[str, Any]) -> list[str]:
    return [
        f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in variables.items()
    ]


def _last_word(said: str, begin: str) -> str:
    return next(line for line in said.splitlines() if line.startswith(begin))
