"""Build of tedsl: four top-level folders installed as one package, and one Cython extension.

Everything static is in pyproject.toml. Only what it cannot say is here: the mapping of folders to packages, whose
sub-packages are found by looking, and the extension.
"""

from pathlib import Path

import numpy
from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).resolve().parent
FOLDERS = {"tedsl": "tedsl", "tedsl.schedule": "schedule", "tedsl.backends": "backends", "tedsl.autodiff": "autodiff"}


def packages() -> list[str]:
    """Every package below the top-level folders, under the name that it is imported by."""
    found = []
    for package, folder in FOLDERS.items():
        found.append(package)
        found += [f"{package}.{name}" for name in find_packages(str(ROOT / folder))]
    return found


def extensions() -> list[Extension]:
    # Sources are relative to this file, as setuptools asks. No -march: a wheel has to run on other machines.
    runtime = Extension(
        "tedsl.backends.c.runtime",
        ["backends/c/runtime.pyx"],
        include_dirs=[numpy.get_include()],
        # The oldest interface that has PyDataMem_SetHandler; setuptools does not read the .pyx file's own setting.
        define_macros=[("NPY_TARGET_VERSION", "NPY_1_22_API_VERSION")],
    )
    return [runtime]


setup(
    packages=packages(),
    package_dir=dict(FOLDERS),
    include_package_data=False,  # else MANIFEST.in, which is about the sdist, would have a say in the wheel
    package_data={"": ["py.typed", "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.h", "*.c.in", "*.npz", "*.md"]},
    # The generated C of the extension lies next to its source in a working tree; it is no part of the package.
    exclude_package_data={"": ["runtime.c"]},
    ext_modules=extensions(),
)
