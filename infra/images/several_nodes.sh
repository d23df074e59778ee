#!/bin/sh
# One pod of a Kubernetes Indexed Job whose pods share a checkout (pool kubernetes-nodes in work-pools.yaml).
# usage: several-nodes checkout BRANCH REPOSITORY FOLDER   pod 0 clones; the others wait until it has
#        several-nodes run COMMAND...   in the checkout: pod 0 runs the command, and the others train with it until it ends
set -eu

index=${JOB_COMPLETION_INDEX:?set by Kubernetes in the pods of an Indexed Job}
cloned=.git/foundry-cloned
ended=.git/foundry-ended

checkout() {
    if [ "$index" = 0 ]; then
        git clone --branch "$1" "$2" "$3"
        touch "$3/$cloned"
    fi
    while [ ! -e "$3/$cloned" ]; do sleep 1; done
}

lead() {
    status=0
    "$@" || status=$?
    touch "$ended"
    # What the run has made is pushed. A failed run's folder stays on the volume, to be looked at.
    if [ "$status" = 0 ]; then find . -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} +; fi
    return "$status"
}

# A flow may start training more than once, or never: only the end of pod 0's command ends the others. Where a process of
# this machine dies, pod 0's training fails and says so; a pod that failed here would take pod 0 with it.
follow() {
    while [ ! -e "$ended" ]; do
        foundry join train &
        joined=$!
        while [ ! -e "$ended" ] && kill -0 "$joined" 2> /dev/null; do sleep 1; done
        if kill "$joined" 2> /dev/null; then echo "several-nodes: the run has ended" >&2; fi
        wait "$joined" || true
    done
}

what=$1
shift
case $what in
    checkout) checkout "$@" ;;
    run) if [ "$index" = 0 ]; then lead "$@"; else follow; fi ;;
    *) echo "several-nodes: $what: must be checkout or run" >&2; exit 2 ;;
esac
