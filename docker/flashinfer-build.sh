#!/usr/bin/env bash
# Builds FlashInfer from source with its kernels compiled ahead of time, as a wheel or into this Python.
#
# The architectures depend on the CUDA release. FLASHINFER_CUDA_ARCH_LIST is a dialect of its own: it takes the family
# suffix (10.0f) that torch refuses, and mangles +PTX. The lists below are claims that `orchestrate check` compares with
# matrix.yaml.

set -euo pipefail

usage() {
	cat <<'USAGE'
Usage: FLASHINFER_GIT_REF=v0.6.8.post1 CUDA_VERSION=13.0.2 docker/flashinfer-build.sh [--print-archs]

Environment:
  FLASHINFER_GIT_REF    tag or branch to build (required)
  CUDA_VERSION          release of the toolkit that compiles, as in 13.0.2 (required)
  BUILD_WHEEL           true: a wheel in ./flashinfer-dist (default); false: installed into this Python
  FLASHINFER_GIT_REPO   another repository (default https://github.com/flashinfer-ai/flashinfer.git)
  FLASHINFER_CUDA_ARCH_LIST   another list than the one for CUDA_VERSION

  --print-archs         print the list for CUDA_VERSION and build nothing

Needs git, uv, nvcc and the Python packages that FlashInfer builds with.
USAGE
}

fail() {
	printf 'flashinfer-build: %s\n' "$*" >&2
	exit 2
}

arch_list() { # arch_list CUDA_VERSION
	local ARCH_LIST
	case "$1" in
	11.*)
		ARCH_LIST="7.5 8.0 8.9"
		;;
	12.[0-7] | 12.[0-7].*) # spelled out, because 12.[0-7]* would take a 12.10 for a 12.1
		ARCH_LIST="7.5 8.0 8.9 9.0a"
		;;
	12.[89] | 12.[89].*)
		ARCH_LIST="7.5 8.0 8.9 9.0a 10.0a 10.3a 12.0"
		;;
	1[3-9].*)
		ARCH_LIST="7.5 8.0 8.9 9.0a 10.0f 11.0 12.0f"
		;;
	*)
		fail "CUDA_VERSION=$1: no list for this release"
		;;
	esac
	printf '%s\n' "$ARCH_LIST"
}

build() { # build REPOSITORY REF CUDA_VERSION BUILD_WHEEL
	local work short
	short="cu$(cut -d. -f1,2 <<<"$3" | tr -d .)"
	work="$(mktemp -d)"
	trap 'rm -rf "$work"' EXIT
	git clone --quiet --depth 1 --recursive --shallow-submodules --branch "$2" "$1" "$work/flashinfer"
	# torch's own reader of TORCH_CUDA_ARCH_LIST refuses the f suffix; FlashInfer reads its variable first.
	export FLASHINFER_CUDA_ARCH_LIST TORCH_CUDA_ARCH_LIST="$FLASHINFER_CUDA_ARCH_LIST" UV_TORCH_BACKEND="$short"
	(
		cd "$work/flashinfer"
		python3 -m flashinfer.aot
		if [[ "$4" == true ]]; then
			uv build --no-build-isolation --wheel --out-dir "$OLDPWD/flashinfer-dist" .
		else
			uv pip install --system --no-build-isolation --force-reinstall .
		fi
	)
	# An ahead-of-time build on a machine without a GPU once produced nothing and said nothing (vllm #21768).
	if [[ "$4" == true ]]; then
		compgen -G 'flashinfer-dist/*.whl' >/dev/null || fail "the build ended well and left no wheel in flashinfer-dist"
	fi
}

main() {
	case "${1:-}" in
	-h | --help) usage && return ;;
	--print-archs) arch_list "${CUDA_VERSION:?is required, as in 13.0.2}" && return ;;
	"") ;;
	*) fail "unknown option $1 (--help shows what there is)" ;;
	esac
	[[ -n "${FLASHINFER_GIT_REF:-}" ]] || fail "FLASHINFER_GIT_REF is required, as in v0.6.8.post1"
	[[ -n "${CUDA_VERSION:-}" ]] || fail "CUDA_VERSION is required, as in 13.0.2"
	local wheel="${BUILD_WHEEL:-true}"
	[[ "$wheel" == true || "$wheel" == false ]] || fail "BUILD_WHEEL=$wheel: true or false"
	FLASHINFER_CUDA_ARCH_LIST="${FLASHINFER_CUDA_ARCH_LIST:-$(arch_list "$CUDA_VERSION")}"
	printf 'flashinfer-build: %s for CUDA %s: %s\n' "$FLASHINFER_GIT_REF" "$CUDA_VERSION" "$FLASHINFER_CUDA_ARCH_LIST" >&2
	build "${FLASHINFER_GIT_REPO:-https://github.com/flashinfer-ai/flashinfer.git}" "$FLASHINFER_GIT_REF" "$CUDA_VERSION" "$wheel"
}

main "$@"
