"""What a GPU really does with programs compiled for other architectures, beside what `orchestrate` predicts for them.

    python -m tests.gpu.run_on_gpu [--out FILE] [--predict-only]

Needs nvcc and, unless it only predicts, a GPU; Python alone otherwise. Each program is built, read back with
`orchestrator.image` (each translation unit for itself), judged with `orchestrator.cuda.coverage`, and then each of its
kernels is launched in a process of its own, once with lazy and once with eager loading. A container that several units
share (`-rdc`) is served when each of them runs. What came out on a machine with an H200 is kept in recorded.json, and
tests/unit/image/verdict/test_gpu_record.py replays it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator.cuda.coverage import How, Image, ptx_isa_needed, serve
from orchestrator.cuda.toolkit import toolkit_for
from orchestrator.image.code.elf import Window, read_sections
from orchestrator.image.code.fatbin import EXECUTABLE, RELOCATABLE, read_containers
from orchestrator.image.code.library import Folder
from orchestrator.image.code.reader import read_file
from orchestrator.image.verdict.kernels import how_served, images_of
from tests.support.ptx import newest_ptx

RAN, NO_IMAGE, TOO_NEW = "ok", "cudaErrorNoKernelImageForDevice", "cudaErrorUnsupportedPtxVersion"
NOT_LINKED = "cudaErrorSymbolNotFound"  # instead of NO_IMAGE, where relocatable code was there and could not be linked

KERNEL: Final = """\
#include <cuda_runtime.h>
__global__ void kernel_{unit}(int *out) {{ *out = 40 + {unit}; }}
extern "C" cudaError_t launch_{unit}(int *out) {{ kernel_{unit}<<<1, 1>>>(out); return cudaGetLastError(); }}
"""

MAIN: Final = """\
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>
{declarations}
static cudaError_t run(int unit) {{
    cudaError_t error;
    int *out, value = 0;
    if ((error = cudaMalloc(&out, sizeof *out))) return error;
    switch (unit) {{ {cases} default: return cudaErrorInvalidValue; }}
    if (error) return error;
    if ((error = cudaDeviceSynchronize())) return error;
    if ((error = cudaMemcpy(&value, out, sizeof value, cudaMemcpyDeviceToHost))) return error;
    return value == 40 + unit ? cudaSuccess : cudaErrorUnknown;
}}
int main(int count, char **words) {{
    cudaError_t error = run(count > 1 ? std::atoi(words[1]) : 0);
    std::puts(error ? cudaGetErrorName(error) : "ok");
    return error ? 1 : 0;
}}
"""

ABOUT: Final = """\
#include <cstdio>
#include <cuda_runtime.h>
int main() {
    cudaDeviceProp device;
    int driver = 0;
    if (cudaGetDeviceProperties(&device, 0) || cudaDriverGetVersion(&driver)) return 1;
    std::printf("%s\\n%d.%d\\n%d.%d\\n", device.name, device.major, device.minor, driver / 1000, driver % 1000 / 10);
}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """One program to build.

    Attributes:
        name: What it is called in the record.
        units: nvcc's flags of each translation unit; each has one kernel.
        link: nvcc's flags of the last step, for units that are linked on the device's side.
        ptx_version: Written into the PTX of every unit, as a newer toolkit would; "" leaves it.
    """

    name: str
    units: tuple[str, ...]
    link: str = ""
    ptx_version: str = ""


def gencode(words: str) -> str:
    """nvcc's flags for `90 80a p80`: each machine code or, with a p, PTX."""
    return " ".join(
        f"-gencode arch=compute_{number},code={'compute' if ptx else 'sm'}_{number}"
        for ptx, number in re.findall(r"(p?)(\d+[af]?)", words)
    )


def programs() -> tuple[Program, ...]:
    """Everything that is built: one unit in every way that can fail, then two units side by side."""
    single = ("90", "90a", "75", "80", "89", "80 86 89", "100", "100f", "120", "80 90", "90 90a", "80 90a 100f 120")
    ptx = ("p75", "p80", "p90", "p90a", "p100", "p100f", "p120f")
    mixed = ("80 p80", "100 p80", "89 p100", "90a p90a", "100f p90")
    two = (
        ("90", "80"), ("80", "90"), ("90", "p80"), ("90a", "100f"), ("p90a", "100 p100"), ("90", "80 86 89"),
        ("75 80 86 89 90 100 120", "80 86 89 100 120"),
    )  # fmt: skip
    linked = (
        (("90",), "90"), (("80",), "80"), (("80 90",), "80"), (("80 90a",), "80"), (("80 p80",), "80"),
        (("80 p80",), "80 90"), (("80 p90a",), "80"), (("80 p100",), "80"), (("100 p80",), "100"), (("p80",), "90"),
        (("80 p80", "80 p80"), "80"), (("80 p80", "80"), "80"), (("80 90", "80 p80"), "80"),
    )  # fmt: skip
    return (
        *(Program(name=words, units=(gencode(words),)) for words in (*single, *ptx, *mixed)),
        *(Program(name=" | ".join(words), units=tuple(map(gencode, words))) for words in two),
        Program(name="no -gencode", units=("",)),
        Program(name="-arch=sm_90a", units=("-arch=sm_90a",)),
        Program(name="-arch=sm_100f", units=("-arch=sm_100f",)),
        Program(name="90 p90, everything compressed", units=(f"{gencode('90 p90')} -Xfatbin -compress-all",)),
        Program(name="80, everything compressed", units=(f"{gencode('80')} -Xfatbin -compress-all",)),
        Program(name="p80 of a newer toolkit", units=(gencode("p80"),), ptx_version="9.4"),
        Program(name="90 p80 of a newer toolkit", units=(gencode("90 p80"),), ptx_version="9.4"),
        Program(name="90 | p80 of a newer toolkit", units=(gencode("90"), gencode("p80")), ptx_version="9.4"),
        Program(name="80, an empty 90 from the linker", units=(gencode("80"),), link=gencode("80 90")),
        *(device_linked(words, link) for words, link in linked),
    )  # fmt: skip


def device_linked(units: tuple[str, ...], link: str) -> Program:
    """A program whose units are compiled for some architectures and linked on the device's side for others."""
    return Program(
        name=f"rdc {' | '.join(units)}, linked for {link}",
        units=tuple(f"-rdc=true {gencode(words)}" for words in units),
        link=gencode(link),
    )


# --- building ------------------------------------------------------------


def call(words: list[str], directory: Path, **environment: str) -> str:
    """A command's standard output; what it says when it fails is the error."""
    done = subprocess.run(
        words, cwd=directory, capture_output=True, text=True, check=False, env=os.environ | environment, timeout=300
    )
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(program: Program, directory: Path) -> Path:
    """Compile and link a program; the path of the result."""
    directory.mkdir(parents=True)
    objects = []
    for unit, flags in enumerate(program.units):
        (directory / f"unit{unit}.cu").write_text(KERNEL.format(unit=unit))
        words = ["nvcc", *flags.split(), "-c", f"unit{unit}.cu", "-o", f"unit{unit}.o"]
        if program.ptx_version and "code=compute" in flags:
            compile_as_newer(words, program.ptx_version, directory)
        else:
            call(words, directory)
        objects.append(f"unit{unit}.o")
    units = range(len(program.units))
    text = MAIN.format(
        declarations="\n".join(f'extern "C" cudaError_t launch_{unit}(int *);' for unit in units),
        cases=" ".join(f"case {unit}: error = launch_{unit}(out); break;" for unit in units),
    )
    (directory / "main.cpp").write_text(text)  # not .cu: the only device code is that of the units
    call(["nvcc", *program.link.split(), "main.cpp", *objects, "-o", "program"], directory)
    return directory / "program"


def compile_as_newer(words: list[str], version: str, directory: Path) -> None:
    """Run nvcc's own steps one by one, and raise the `.version` of the PTX before it is packed."""
    done = subprocess.run(
        [*words[:1], "--dryrun", "--keep", *words[1:]], cwd=directory, capture_output=True, text=True, check=True
    )
    lines = [line.removeprefix("#$ ") for line in done.stderr.splitlines() if line.startswith("#$ ")]
    settings = dict(line.split("=", 1) for line in lines if re.match(r"(?:PATH|CICC_PATH)=", line))
    steps = [line for line in lines if not re.match(r"\w+=", line)]
    raised = [
        f"sed -i 's/^\\.version .*/.version {version}/' *.ptx\n{line}" if line.startswith("fatbinary") else line
        for line in steps
    ]
    call(["bash", "-e", "-c", "\n".join(raised)], directory, **settings)


# --- predicting ------------------------------------------------------------


def containers_of(program: Path) -> tuple[list[list[Image]], list[list[Image]]]:
    """The images of each executable container with kernels, in the order of linking, and of each relocatable one."""
    source = Window(program.read_bytes())
    executable, relocatable = [], []
    for container in read_containers(source, read_sections(source)):
        images = [image for image in container.images if not _is_empty(image, source)]
        found = list(images_of(tuple(image.tag for image in images), {image.tag: image.isa for image in images}))
        if container.section == RELOCATABLE:
            relocatable.append(found)
        elif container.section == EXECUTABLE and found:
            executable.append(found)
    return executable, relocatable


def _is_empty(image: Any, source: Window) -> bool:
    folder = Folder()
    stored = io.BytesIO(source.read_at(image.payload, image.stored))
    return folder.wants(image) and not folder.opener.open(image, stored.read).kernel


def predict(
    images: list[Image], relocatable: list[list[Image]], cc: str, driver_isa: tuple[int, int]
) -> tuple[How, str]:
    """How a container serves a device, and what a launch of its kernel must give there.

    Args:
        images: Of the container.
        relocatable: Images of each relocatable container of the same file.
        cc: The device's compute capability.
        driver_isa: Newest PTX ISA that its driver knows.
    """
    how = serve(images, cc, relocatable=relocatable)
    if how.direct:
        return how, RAN
    if how is How.NONE:
        return how, NOT_LINKED if relocatable else NO_IMAGE
    compiled = [images] if how is How.PTX else [one for one in relocatable if serve(one, cc) is How.PTX]
    needed = max((ptx_isa_needed(one, cc) or (0, 0) for one in compiled), default=(0, 0))
    return how, RAN if needed <= driver_isa else TOO_NEW


def examine(program: Program, path: Path, machine: dict[str, Any], *, launch: bool) -> dict[str, Any]:
    """One program's part of the record."""
    executable, relocatable = containers_of(path)
    units = list(range(len(program.units)))
    shares = [units] if program.link else [[unit] for unit in units]  # a link on the device's side makes one container
    if len(executable) != len(shares):
        raise SystemExit(f"{program.name}: {len(shares)} containers expected, found {len(executable)}")
    isa = (machine["driver_ptx_isa"][0], machine["driver_ptx_isa"][1])
    rows = []
    for images, share in zip(executable, shares, strict=True):
        how, said = predict(images, relocatable, machine["cc"], isa)
        row: dict[str, Any] = {"images": [written(image) for image in images], "how": how.value, "predicted": said}
        if launch:
            row["kernels"] = [{mode.lower(): run(path, unit, mode) for mode in ("LAZY", "EAGER")} for unit in share]
            row["agree"] = outcome(row["kernels"]) == said
        rows.append(row)
    whole = read_file(path.read_bytes())
    folded = {how.value: count for how, count in how_served(whole, machine["cc"]).items()} if whole else {}
    if folded != Counter(row["how"] for row in rows):
        raise SystemExit(
            f"{program.name}: the whole file is {folded}, its containers are {[row['how'] for row in rows]}"
        )
    return {
        "name": program.name,
        "nvcc": list(program.units),
        "link": program.link,
        "relocatable": [[written(image) for image in images] for images in relocatable],
        "containers": rows,
    }


def outcome(kernels: list[dict[str, str]]) -> str:
    """What became of a container: "ok" when each of its kernels ran, lazy and eager, else the errors that were seen."""
    return " ".join(sorted({seen for kernel in kernels for seen in kernel.values()} - {RAN})) or RAN


def written(image: Image) -> list[Any]:
    """An image for JSON; `Image(*row[:3], tuple(row[3]))` reads it back."""
    return [image.kind, image.sm, image.suffix, list(image.isa)]


# --- running ------------------------------------------------------------


def run(path: Path, unit: int, mode: str) -> str:
    """What launching one kernel gives, in a process of its own: "ok" or the name of the error."""
    done = subprocess.run(
        [path, str(unit)], env=os.environ | {"CUDA_MODULE_LOADING": mode}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    return done.stdout.strip() or f"status {done.returncode}"


def about(directory: Path, *, launch: bool) -> dict[str, Any]:
    """The GPU, its driver and the toolkit; without a GPU an H200 under the driver of the toolkit at hand."""
    version = call(["nvcc", "--version"], directory)
    release = "".join(re.findall(r"release [\d.]+, V([\d.]+)", version))
    name, cc, driver = "none: predicted only", "9.0", release
    if launch:
        (directory / "about.cpp").write_text(ABOUT)
        call(["nvcc", "about.cpp", "-o", "about"], directory)
        name, cc, driver = call([str(directory / "about")], directory).splitlines()
    return {
        "gpu": name,
        "cc": cc,
        "driver_cuda": driver,
        "driver_ptx_isa": newest_ptx(toolkit_for(driver)),
        "nvcc": release,
    }


def main(arguments: list[str]) -> int:
    """Build, predict, run, and write the record; 1 when a prediction was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="where the record goes (default: standard output)")
    parser.add_argument("--predict-only", action="store_true", help="build and predict, launch nothing")
    options = parser.parse_args(arguments)
    launch = not options.predict_only
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        machine = about(Path(folder), launch=launch)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            places = [Path(folder, str(number)) for number in range(len(programs()))]
            built = list(pool.map(build, programs(), places))
        for program, path in zip(programs(), built, strict=True):
            row = examine(program, path, machine, launch=launch)
            for one in row["containers"]:
                seen = f"{outcome(one['kernels']):<34} {'agree' if one['agree'] else 'WRONG'}" if launch else ""
                line = f"{row['name']:<42} {one['how']:<10} {one['predicted']:<34} {seen}"
                print(line, file=sys.stderr, flush=True)
            rows.append(row)
    text = json.dumps({"schema": 1, "machine": machine, "programs": rows}, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        sys.stdout.write(text)
    return 0 if all(one.get("agree", True) for row in rows for one in row["containers"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
