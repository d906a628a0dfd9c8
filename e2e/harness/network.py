"""A network of its own for programs that are to be cut off from each other."""

import os
import subprocess


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)


class Network:
    """Hosts in namespaces on one bridge, to which this machine is tied as well."""

    def __init__(self, hosts: int) -> None:
        self._stem = f"pt{os.getpid() % 100000}"
        self._subnet = f"10.{213 + os.getpid() % 20}.{os.getpid() % 250}"
        self._namespaces: list[str] = []
        try:
            self._add(f"{self._stem}sw")
            ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
            ip("-n", self._switch, "link", "set", "br0", "up")
            for number in range(1, hosts + 1):
                self._add(self.namespace(number))
                ip("-n", self._switch, "link", "add", f"p{number}", "type", "veth",
                   "peer", "name", "eth0", "netns", self.namespace(number))
                ip("-n", self._switch, "link", "set", f"p{number}", "master", "br0", "up")
                ip("-n", self.namespace(number), "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
                ip("-n", self.namespace(number), "link", "set", "eth0", "up")
                ip("-n", self.namespace(number), "link", "set", "lo", "up")
            ip("link", "add", f"{self._stem}v", "type", "veth", "peer", "name", "up0", "netns", self._switch)
            ip("-n", self._switch, "link", "set", "up0", "master", "br0", "up")
            ip("addr", "add", f"{self.address(254)}/24", "dev", f"{self._stem}v")
            ip("link", "set", f"{self._stem}v", "up")
        except AssertionError:
            self.close()
            raise

    def address(self, host: int) -> str:
        return f"{self._subnet}.{host}"

    def namespace(self, host: int) -> str:
        return f"{self._stem}n{host}"

    def command(self, host: int) -> tuple:
        """What stands before a program that is to run there."""
        return ("nsenter", f"--net=/run/netns/{self.namespace(host)}")

    def pull(self, host: int) -> None:
        """Pulls a host's cable."""
        ip("-n", self._switch, "link", "set", f"p{host}", "down")

    def plug(self, host: int) -> None:
        ip("-n", self._switch, "link", "set", f"p{host}", "up")

    def part(self, host: int, others: list[int]) -> None:
        """Cuts a host off from others, both ways, while this machine still reaches it."""
        self._routes("add", host, others)

    def heal(self, host: int, others: list[int]) -> None:
        self._routes("del", host, others)

    def _routes(self, change: str, host: int, others: list[int]) -> None:
        for other in others:
            for one, far in ((host, other), (other, host)):
                ip("-n", self.namespace(one), "route", change, "blackhole", f"{self.address(far)}/32")

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", f"{self._stem}v"], capture_output=True, check=False)
        for namespace in self._namespaces:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    @property
    def _switch(self) -> str:
        return f"{self._stem}sw"

    def _add(self, namespace: str) -> None:
        ip("netns", "add", namespace)
        self._namespaces.append(namespace)
