#!/bin/sh
# Run a flow in a fresh clone on a machine without a persistent disk (a Kubernetes job): fetch the data of the last run
# first, then push this run's data to the object store and its commit (refs/runs/*) to the repository.
# usage: remote-run COMMAND...      (FOUNDRY_DVC_REMOTE: address of the DVC remote, such as s3://dvc/cache)
set -u

dvc remote add --local --force --default store "${FOUNDRY_DVC_REMOTE:?address of the DVC remote}" --quiet || exit 1
git fetch --quiet --force origin 'refs/runs/*:refs/runs/*' || exit 1

# The lock of the last run is on no branch. It is put in place only while DVC moves the data it names.
with_lock_of() {
    git show "$1:dvc.lock" > dvc.lock || return 1
    shift
    "$@"
    moved=$?
    git checkout --quiet -- dvc.lock 2> /dev/null || rm -f dvc.lock
    return $moved
}

before=$(git rev-parse --verify --quiet refs/runs/latest)
if [ -n "$before" ] && ! with_lock_of "$before" dvc fetch --quiet; then
    echo "remote-run: not all data of the last run is in the store; what is missing will be computed again" >&2
fi

"$@"
status=$?

for ref in $(git for-each-ref --format='%(refname)' refs/runs); do
    commit=$(git rev-parse "$ref")
    if git ls-remote --exit-code origin "$ref" | grep -q "^$commit"; then
        continue
    fi
    if git cat-file -e "$commit:dvc.lock" 2> /dev/null && ! with_lock_of "$commit" dvc push --quiet; then
        echo "remote-run: the data of $ref is not in the store: pushing failed" >&2
        status=1
    fi
    if ! git push --quiet --force origin "$commit:$ref"; then
        echo "remote-run: $ref is not in the repository: pushing failed; may the token of git_credentials write?" >&2
        status=1
    fi
done
git push --quiet origin --tags || status=1
exit $status
