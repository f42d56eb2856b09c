#!/bin/bash
# One scenario: `scenario.sh PROGRAM FILE NAME` runs the function scenario_NAME of a file, which passes if every command in it does.
# The working directory is /work, empty. What a scenario may use beside the programs stands in assert.sh and, for crun and runc
# (`$runtime` is one of them), in runtime.sh, for FUSE programs in fuse.sh.

set -euo pipefail -o errtrace
shopt -s inherit_errexit
trap 'echo "${BASH_SOURCE[0]##*/}, line $LINENO: status $? of: $BASH_COMMAND"' ERR

here=${0%/*}
source "$here/assert.sh"
case $1 in
    crun | runc)
        runtime=$1
        source "$here/runtime.sh"
        ;;
    fuse) source "$here/fuse.sh" ;;
esac
source "$here/scenarios/$2"
"scenario_$3"
