#!/usr/bin/env bash
# Run the measurement with what PBIAS_* variables say; end with pytest's exit code, and say the
# verdict in one word on GITHUB_OUTPUT. Used by action.yml; works in any CI.
set -euo pipefail

reports=${PBIAS_REPORTS:-pbias-reports}
mkdir -p "$reports"
# Of an earlier step or job: a run that writes none is not to be taken for it.
rm -f "$reports"/pbias.{xml,json,md,parquet}

# Words are split as a shell would, quotes respected, but nothing in them is run.
split() {
  [ -z "$1" ] || xargs printf '%s\n' <<<"$1"
}
mapfile -t tests < <(split "${PBIAS_TESTS:-}")
mapfile -t more < <(split "${PBIAS_ARGS:-}")

options=("--pbias-model=${PBIAS_MODEL:?the model to measure}")
for name in base-url gate compare compare-fail tag; do
  variable=PBIAS_${name//-/_}
  variable=${variable^^}
  value=${!variable:-}
  [ -z "$value" ] || options+=("--pbias-$name=$value")
done

status=0
python -m pytest "${tests[@]}" "${options[@]}" \
  "--junitxml=$reports/pbias.xml" "--pbias-json=$reports/pbias.json" \
  "--pbias-markdown=$reports/pbias.md" "--pbias-table=$reports/pbias.parquet" \
  "${more[@]}" || status=$?

verdict=$(python -m pytest_pbias.cli verdict "$status" "$reports/pbias.xml")
echo "pbias: $verdict (exit code $status)"
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  printf 'verdict=%s\nexit-code=%s\n' "$verdict" "$status" >>"$GITHUB_OUTPUT"
fi
if [ "$status" -ne 0 ] && [ "${GITHUB_ACTIONS:-}" = true ]; then
  echo "::error title=pbias::$verdict"
fi
exit "$status"
