"""Make a process independent of its surroundings, before any library is imported.

Variables for plotting in a notebook and of programs that start one process for each part of a job
are not meant for these processes; a file in the project or in a folder of PYTHONPATH may hide a
module of Python. Nothing else is imported here: it might be what is hidden.
"""

import os
import sys

JOB = "GAPWISE_JOB"  # set in the processes of one run on several devices, which Lightning starts
LAUNCHED = (  # by torchrun, Lightning, Kubeflow or by hand
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "ROLE_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT", "STANDALONE_PORT", "ROLE_NAME"),
)
TRAINER = "PL_"  # of Lightning: PL_TRAINER_LIMIT_TRAIN_BATCHES gives its trainer an argument
LAUNCHERS = ("SLURM_", "TORCHELASTIC_", "OMPI_", "PMI_", "PMIX_", "MPI_", "LSB_", "JSM_", "PBS_")
INSTALLED = ("site-packages", "dist-packages")  # folders of installed packages
KERNELS = (  # which change the bits, and which the record of a run does not hold
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
)
GIT = (  # of a hook, or of another repository: what `git rev-parse --local-env-vars` lists
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_INDEX_FILE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH"),
    *("GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_NAMESPACE"),
    *("GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS"),
    *("GIT_IMPLICIT_WORK_TREE", "GIT_INTERNAL_SUPER_PREFIX"),
)
CAPABILITY = "ATEN_CPU_CAPABILITY"  # of PyTorch's own kernels; the record of a run holds it
AVX2 = {CAPABILITY: "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
PROCESSORS = "/proc/cpuinfo"
HASHES = {"PYTHONHASHSEED": "0"}  # which Python reads when a process starts
OWN = ("pipeline", "experiments", "tests", "benchmarks", "docs", "gapwise", "setup", "conftest")


def shut_out() -> None:
    """Remove variables that change how figures are drawn, how a run is trained, or what git shows.

    The processes of one run on several devices keep those that Lightning has set for them.
    """
    os.environ["MPLBACKEND"] = "agg"  # figures are written to files
    if JOB in os.environ:
        return
    for name in list(os.environ):
        if name in (*LAUNCHED, *KERNELS, *GIT) or name.startswith((TRAINER, *LAUNCHERS)):
            del os.environ[name]


def equal_kernels(processors: str = PROCESSORS) -> None:
    """Limit PyTorch, oneDNN and MKL to kernels of AVX2, if the processor has these.

    Processors with AVX-512 then compute the same bits as processors without it. If the user has set
    ATEN_CPU_CAPABILITY to another value, it is kept and no kernels are limited.

    Args:
        processors: File with the flags of the processors, as Linux has it.
    """
    if os.environ.get(CAPABILITY, "avx2") != "avx2":
        return
    try:
        with open(processors, encoding="utf-8") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return
    if "avx2" in flags:
        os.environ.update(AVX2)


def equal_hashes(restart: bool) -> None:
    """Give texts the same hashes in every process: the order of a set of names follows from them.

    A network of the user may be built in such an order, or seed a generator with a hash. Processes
    that this one starts have them; this one begins again, in its place, if `restart`.
    """
    has_them = HASHES.items() <= os.environ.items()
    os.environ.update(HASHES)
    if restart and not has_them:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def search_last(written: str, project: str) -> None:
    """Search the folders of PYTHONPATH after Python's own and the installed packages.

    Otherwise a file there could hide a module that is needed.

    Args:
        written: The value of PYTHONPATH.
        project: The folder with this code, which stays where it is.
    """
    added = [os.path.abspath(folder) for folder in written.split(os.pathsep) if folder]
    moved = [path for path in sys.path if os.path.abspath(path) in added and path != project]
    kept = [path for path in sys.path if path not in moved]
    installed = [path for path in kept if os.path.basename(path) in INSTALLED]
    place = 1 + kept.index(installed[-1]) if installed else len(kept)
    sys.path[:] = kept[:place] + moved + kept[place:]


def hidden_module(folder: str) -> str:
    """Return the name of a file or package in `folder` that hides one which is needed.

    That is a module of Python or of an installed package; "" where none is hidden.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        module, suffix = os.path.splitext(name)
        is_package = os.path.isfile(os.path.join(folder, name, "__init__.py"))
        if (suffix == ".py" or is_package) and module not in OWN and _is_needed(module):
            return name
    return ""


def _is_needed(module: str) -> bool:
    if module in sys.stdlib_module_names:
        return True
    import sysconfig  # here, as it may be what is hidden

    place = os.path.join(sysconfig.get_path("purelib"), module)
    return os.path.isfile(f"{place}.py") or os.path.isfile(os.path.join(place, "__init__.py"))
