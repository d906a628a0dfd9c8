"""Command line of ./bench."""

import argparse
import sys
from pathlib import Path

from benchmarks import convergence, dns, gateway, memory, parts, processes, registry_command, soak, sources


def main() -> int:
    arguments = parse()
    parts.PORTOLAN = arguments.portolan.resolve()
    processes.raise_descriptor_limit()
    try:
        with processes.Cleanup():
            return arguments.run(arguments)
    except parts.MissingPart as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    except processes.ServerFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; every server it started is stopped", file=sys.stderr)
        return 130


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./bench",
        description="Measures Portolan beside real proxies, on loopback, on this machine.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (gateway, registry_command, sources, dns, convergence, soak, memory):
        module.add_command(commands)
    for command in commands.choices.values():
        command.add_argument(
            "--portolan", type=Path, default=parts.PORTOLAN, help="default: the release binary"
        )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
