//! Bad input to the commands that run, attack, simulate and measure.

use crate::bad_input::{ABSENT, CONFLICT, Case, DENIED, FAILED, UNVERIFIED, USAGE, wrong};
use crate::fixture::Fixture;

pub(crate) const DRILLS: &[Case] = &[
    ("demo extra", USAGE, "extra"),
    ("demo --report", USAGE, "a value is required"),
    ("demo --report plan.toml/report", FAILED, "cannot create plan.toml/report"),
    ("local", USAGE, "`ravelin local` needs a command"),
    ("local up --servers four", USAGE, "invalid value 'four'"),
    ("local up --dir new --servers 0", USAGE, "at least 4 are needed"),
    ("local up --dir new --servers 3", USAGE, "at least 4 are needed"),
    ("local up --dir new --servers 101", USAGE, "more than the 100 supported"),
    ("local up --dir new --fault-model hybrid", USAGE, "invalid value 'hybrid'"),
    ("local up --dir s0", CONFLICT, "it is not empty"),
    ("local up --dir plan.toml", FAILED, "cannot make a cluster in plan.toml"),
    ("local up --dir mistyped", USAGE, "unknown key `layuot`"),
    ("local up --dir newer", USAGE, "layout 2 is not 1"),
    ("local down --dir nowhere", ABSENT, "there is no local cluster"),
    ("local status --dir s0", ABSENT, "there is no local cluster"),
    ("local logs --dir nowhere", USAGE, "--on <SERVER>"),
    ("local logs --dir nowhere --on 0", ABSENT, "there is no local cluster"),
    ("local reset --dir s0", ABSENT, "there is no local cluster"),
    ("local reset --dir mistyped", USAGE, "unknown key `layuot`"),
    ("node start", USAGE, "no node file was named"),
    ("node release", USAGE, "required arguments were not provided"),
    ("node release --signed r.toml", USAGE, "no node file was named"),
    ("node release --draft a --signed b", USAGE, "cannot be used with"),
    ("node release --approve r.toml", USAGE, "--key <FILE>"),
    ("node release --approve nowhere.toml --key admin.key", ABSENT, "it does not exist"),
    ("node release --config s0/node.toml --draft r.toml", ABSENT, "no state of a server"),
    ("node evidence --config s0/node.toml --out proofs", ABSENT, "no state of a server"),
    ("node start --config nowhere.toml", ABSENT, "it does not exist"),
    ("node start --config plan_unsigned.toml", UNVERIFIED, "0 of the 1 administrators' signatures"),
    ("node start --config plan_hybrid.toml", USAGE, "`hybrid` is not available"),
    ("node start --config plan_twice.toml", USAGE, "stands in two places"),
    ("node start --config stale.toml", USAGE, "has another transport key than server 0"),
    ("node start --config s1/node.toml", CONFLICT, "cannot listen at 127.0.0.1:6101"),
    ("node start --config s0/node.toml --data-dir shared", DENIED, "others can write into it"),
    ("node start --config s0/node.toml --intruder mute", DENIED, "this plan is for production"),
    ("attack", USAGE, "`ravelin attack` needs a command"),
    ("attack list extra", USAGE, "extra"),
    ("attack run mute", USAGE, "--on <SERVER>"),
    ("attack run muet --on 0 --dir nowhere", USAGE, "there is no intruder `muet`"),
    ("attack run mute+nobody --on 0 --dir nowhere", USAGE, "there is no intruder `nobody`"),
    ("attack run mute --on 0 --dir nowhere", ABSENT, "there is no local cluster"),
    ("attack take --on 0 --dir nowhere", USAGE, "--exec <PROGRAM>"),
    ("attack take --on 0 --dir nowhere --exec true", ABSENT, "there is no local cluster"),
    ("attack stop --on -1", USAGE, "-1"),
    ("attack stop --on 0 --dir nowhere", ABSENT, "there is no local cluster"),
    ("attack campaign --seconds 5", USAGE, "5 is not in 15..=3600"),
    ("attack campaign --full --seconds 60", USAGE, "cannot be used with"),
    ("attack campaign --only kil", USAGE, "no step is named `kil`"),
    ("attack campaign --seed minus", USAGE, "invalid digit"),
    ("attack campaign --report nowhere/results.md", ABSENT, "nowhere does not exist"),
    ("attack machine --minutes 0", USAGE, "0 is not in 1..=1440"),
    ("attack machine --only rott", USAGE, "no step is named `rott`"),
    ("attack machine --only mute", USAGE, "no step is named `mute`"),
    ("attack machine --soak 5 --minutes 5", USAGE, "cannot be used with"),
    ("attack machine --report nowhere/results.md", ABSENT, "nowhere does not exist"),
    ("attack machine --network nowhere", ABSENT, "nowhere: it does not exist"),
    ("attack machine --network x --soak 5", USAGE, "cannot be used with"),
    ("attack power-loss --times 0", USAGE, "0 is not in 1..=10000"),
    ("attack power-loss --report nowhere/results.md", ABSENT, "nowhere does not exist"),
    ("sim", USAGE, "`ravelin sim` needs a command"),
    ("sim run --seeds 0", USAGE, "0 is not in 1.."),
    ("sim run --mode fast", USAGE, "invalid value 'fast'"),
    ("sim run --group 4", USAGE, "write it as 4,1"),
    ("sim run --group 3,1", USAGE, "at least 4 are needed"),
    ("sim run --intruder nobody", USAGE, "there is no intruder `nobody`"),
    ("sim run --regressions plan.toml", CONFLICT, "cannot make the directory plan.toml"),
    ("sim run --regressions plan.toml/r", FAILED, "cannot make the directory plan.toml/r"),
    ("sim replay", USAGE, "<FILE>"),
    ("sim replay nowhere", ABSENT, "it does not exist"),
    ("sim replay junk.toml", USAGE, "junk.toml"),
    ("bench --seconds 0", USAGE, "0 is not in 1.."),
    ("bench --value-bytes 70000", USAGE, "70000 is not in 1.."),
    ("bench --rate 31", USAGE, "less than one envelope a second"),
    ("bench --envelope 64 --in-flight 32", USAGE, "do not fit 32 operations in flight"),
    ("bench --attack nobody", USAGE, "there is no intruder `nobody`"),
    ("bench --attack mute+never-vote-first", USAGE, "there is no intruder `never-vote-first`"),
    ("bench --attack mute --on 4", USAGE, "there is no server 4"),
    ("bench --attack mute --servers 7 --on 7", USAGE, "there is no server 7"),
    ("bench --attack mute,nobody", USAGE, "there is no intruder `nobody`"),
    ("bench --attack all,mute", USAGE, "there is no intruder `all`"),
    ("bench --attack client-flod", USAGE, "there is no intruder `client-flod`"),
    ("bench --attack mute --pairs 0", USAGE, "0 is not in 1..=100"),
    ("bench --on 2", USAGE, "--attack <INTRUDER>"),
    ("bench --report out.md", USAGE, "--attack <INTRUDER>"),
    ("bench --named nobody", USAGE, "invalid value 'nobody'"),
    ("bench --named singles --envelope 1", USAGE, "cannot be used with"),
    ("bench --named reads --reads 100", USAGE, "cannot be used with"),
    ("bench --named paced --rate 100", USAGE, "cannot be used with"),
    ("bench --named default --attack mute", USAGE, "cannot be used with"),
    ("bench --named all --report nowhere/loads.md", ABSENT, "nowhere does not exist"),
    ("bench --runs 0", USAGE, "0 is not in 1..=100"),
    ("bench --runs 3 --attack mute", USAGE, "cannot be used with"),
    ("bench --reads 101", USAGE, "101 is not in 0..=100"),
    ("bench --reads 50 --idle", USAGE, "cannot be used with"),
    ("bench --offer none", USAGE, "it is no number"),
    ("bench --offer 0", USAGE, "it must be between 0.01 and 100"),
    ("bench --offer 2 --rate 100", USAGE, "cannot be used with"),
    ("bench --offer 2 --in-flight 64", USAGE, "cannot be used with"),
    ("bench --offer 2 --report nowhere/overload.md", ABSENT, "nowhere does not exist"),
    ("bench --growth", USAGE, "--keys <N>"),
    ("bench --growth --keys 1000", USAGE, "the smallest state has 10000 keys"),
    ("bench --growth --keys 10000 --servers 7", USAGE, "cannot be used with"),
    ("bench --servers 3", USAGE, "3 is not in 4..=100"),
    ("bench --servers 7 --against etcd", USAGE, "cannot be used with"),
    ("bench --not-durable --against etcd", USAGE, "cannot be used with"),
    ("bench --servers 7 --away 5", USAGE, "cannot be used with"),
    ("bench --not-durable --idle", USAGE, "cannot be used with"),
    ("bench --not-durable --running", USAGE, "cannot be used with"),
    ("bench --running --servers 7", USAGE, "cannot be used with"),
    ("bench --running --config nowhere.toml", ABSENT, "it does not exist"),
    ("bench --running --config s0/node.toml", USAGE, "the file of a server, not of a client"),
    ("bench --idle --attack mute", USAGE, "cannot be used with"),
    ("bench --idle --away 5", USAGE, "cannot be used with"),
    ("bench --away 1", USAGE, "1 is not in 5..=86400"),
    ("bench --lost", USAGE, "--away <SECONDS>"),
    ("bench --keys 3", USAGE, "--away <SECONDS>|--growth"),
    ("bench --trace --idle", USAGE, "cannot be used with"),
    ("wormhole", USAGE, "`ravelin wormhole` needs a command"),
    ("wormhole selftest extra", USAGE, "extra"),
    ("wormhole selftest --program nowhere", ABSENT, "it does not exist"),
    ("wormhole selftest --program plan.toml", FAILED, "cannot start the wormhole"),
    ("wormhole selftest --program /bin/true", FAILED, "the wormhole refused"),
    ("doctor extra", USAGE, "extra"),
    ("doctor --dir nowhere", ABSENT, "nowhere"),
    ("doctor --dir s0", ABSENT, "there is no local cluster"),
];

/// Against a stopped local cluster in `c`.
const LOCAL: &[Case] = &[
    ("local up --dir c --servers 7", CONFLICT, "has 4 servers"),
    ("local logs --dir c --on 4", USAGE, "there is no server 4"),
    ("attack run mute --on 4 --dir c", USAGE, "there is no server 4"),
    ("attack take --on 4 --dir c --exec /bin/true", USAGE, "there is no server 4"),
    ("attack take --on 0 --dir c --exec ./nowhere", ABSENT, "it is no executable file"),
    ("attack take --on 0 --dir c --exec c/plan.toml", ABSENT, "it is no executable file"),
    ("attack stop --on 4 --dir c", USAGE, "there is no server 4"),
    ("node start --config c/servers/0/node.toml --intruder nobody", USAGE, "there is no intruder"),
    ("node start --config c/servers/0/node.toml --intruder mute+nobody", USAGE, "no intruder"),
];

/// Local clusters with one thing wrong in each.
pub(crate) fn damage(fixture: &Fixture) {
    for (dir, mark) in [("mistyped", "layuot = 1"), ("newer", "layout = 2")] {
        std::fs::create_dir(fixture.path(dir)).expect("made");
        fixture.write(&format!("{dir}/cluster.toml"), &format!("{mark}\ncreated = \"now\"\n"));
    }
}

#[test]
fn a_local_cluster_is_not_disturbed_by_bad_input() {
    let fixture = Fixture::empty("undisturbed");
    fixture.done(&["local", "up", "--dir", "c"]);
    fixture.done(&["local", "down", "--dir", "c"]);
    let before = fixture.contents();
    for (typed, exit, cause) in LOCAL {
        let arguments: Vec<&str> = typed.split_whitespace().collect();
        let run = fixture.run(&arguments, &[]);
        assert_eq!(wrong(*exit, cause, &run), None, "`{typed}`");
        assert!(fixture.contents() == before, "`{typed}` changed something on disk");
    }
}
