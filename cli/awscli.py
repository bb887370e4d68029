"""The aws CLI, pointed at the endpoint that the appliance uses: `aws` in the container, `script/aws` outside."""

from __future__ import annotations

import os
import sys

from awscli.clidriver import main as aws

from common.aws import environment
from common.settings import SettingsError, load_settings


def main() -> int:
    try:
        wanted = environment(load_settings())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    os.environ.clear()
    os.environ.update(wanted)
    status: int = aws()
    return status


if __name__ == "__main__":
    sys.exit(main())
