# What `.ci/run` and `.ci/nightly` share: steps that all run, whatever fails. Sourced by bash, in the project's folder.
export CI="${CI:-true}"
exec </dev/null

failed_steps=()

# Runs a step, says how long it took, and goes on.
step() {
  local name="$1" began=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then
    printf '== %s: done in %d s\n' "$name" $((SECONDS - began))
  else
    printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - began))
    failed_steps+=("$name")
    return 1
  fi
}

# Installs a Debian package unless its program is there; fails, and says what follows, where it cannot.
install_package() {
  local package="$1" without="$2" program as_root=()
  shift 2
  for program in "$@"; do
    command -v "$program" >/dev/null && return
  done
  if [[ $EUID -ne 0 ]]; then as_root=(sudo -n); fi
  if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
    "${as_root[@]}" apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$package" >/dev/null &&
      return
  fi
  echo "$package could not be installed: $without."
  return 1
}

# Installs what some tests need and npm does not bring.
install_packages() {
  if [[ -z "${CHROMIUM_PATH:-}" ]]; then
    # The shell, which shows no window, takes half of the processor's time.
    install_package chromium-headless-shell 'another Chromium will do' chromium-headless-shell ||
      install_package chromium 'the browser tests will be skipped' chromium chromium-browser google-chrome
  fi
  install_package pgbouncer 'the torture will do without a pooler' pgbouncer /usr/sbin/pgbouncer
}
