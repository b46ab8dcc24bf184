# Names for the chores; each is one command that works without `just`.

# Lists these names.
default:
    @just --list

# The main job: four servers, real attacks, a checked verdict.
demo:
    cargo run --release -- demo

# The tests.
test:
    cargo test --workspace

# Everything that must hold before a change lands; never writes.
check:
    cargo xtask check

# Formats, and applies what clippy can apply by itself.
fix:
    cargo xtask fix

# The simulator: 500 seeds in each mode, or ARGS.
sim *ARGS:
    cargo xtask sim {{ARGS}}

# The simulator's campaign: hours, or `just campaign --quick`.
campaign *ARGS:
    cargo xtask campaign {{ARGS}}

# Every planted bug against the tests that must find it, or `just mutants --core`.
mutants *ARGS:
    cargo xtask mutants {{ARGS}}

# What the hot paths execute, against the last count, or `just instructions --renew`.
instructions *ARGS:
    cargo xtask instructions {{ARGS}}

# The exhaustive models.
models:
    cargo xtask models

# Every decoder against changed inputs, each for SECONDS.
fuzz SECONDS="60":
    cargo xtask fuzz --seconds {{SECONDS}}

# What CI runs.
ci:
    .ci/run
