//! Bad input to the commands that assess designs.

use crate::cli::bad_input::{ABSENT, CONFLICT, Case, USAGE};
use crate::cli::fixture::Fixture;

pub(crate) const DESIGNS: &[Case] = &[
    ("assess", USAGE, "`ravelin assess` needs a command"),
    ("assess closed-form", USAGE, "`ravelin assess closed-form` needs a command"),
    ("assess closed-form no-repair --n 4 --f 1", USAGE, "--p <P>"),
    ("assess closed-form no-repair --n 4 --f 1 --rate 1", USAGE, "--time <HOURS>"),
    ("assess closed-form no-repair --n 4 --f 1 --p 0.1 --rate 1 --time 1", USAGE, "cannot be used"),
    ("assess closed-form no-repair --n 4 --f 4 --p 0.1", USAGE, "4 servers cannot tolerate 4"),
    ("assess closed-form no-repair --n 0 --f 0 --p 0.1", USAGE, "0 servers"),
    ("assess closed-form no-repair --n 4 --f 1 --p 1.5", USAGE, "lies between 0 and 1"),
    ("assess closed-form no-repair --n 4 --f 1 --p -0.1", USAGE, "lies between 0 and 1"),
    ("assess closed-form no-repair --n 4 --f 1 --p nan", USAGE, "NaN"),
    ("assess closed-form no-repair --n -4 --f 1 --p 0.1", USAGE, "invalid value '-4'"),
    ("assess closed-form no-repair --n 4 --f 1 --rate 0.1/h --time 1", USAGE, "invalid float"),
    ("assess closed-form no-repair --n 4 --f 1 --rate inf --time 1", USAGE, "inf"),
    ("assess closed-form repair --n 4 --f 1 --rate 0 --repair 1", USAGE, "above 0"),
    ("assess closed-form repair --n 4 --f 1 --rate 0.1 --repair -1", USAGE, "at least 0"),
    ("assess closed-form repair --n 4 --f 3 --rate 1e-200 --repair 1e200", USAGE, "beyond 1e308"),
    ("assess closed-form beta --n 4 --f 1 --p 0.1 --beta 2", USAGE, "beta is 2"),
    ("assess closed-form crossover --n 3 --f 1 --coverage nan", USAGE, "coverage of a wormhole"),
    ("assess closed-form crossover --n 4000000000 --f 1", USAGE, "can be computed"),
    ("assess closed-form recoverable --fall 0 --recover 1", USAGE, "above 0"),
    ("assess closed-form coverage --operational 1 --environmental 7", USAGE, "between 0 and 1"),
    ("assess closed-form intruded --rate -1 --time 1", USAGE, "at least 0"),
    ("assess explain nobody", ABSENT, "there is no quantity `nobody`"),
    ("assess example nobody", USAGE, "invalid value 'nobody'"),
    ("assess schema extra", USAGE, "extra"),
    ("assess run", USAGE, "<FILE>"),
    ("assess run nowhere.toml", ABSENT, "it does not exist"),
    ("assess run junk.toml", USAGE, "junk.toml:"),
    ("assess run plan.toml", USAGE, "plan.toml:"),
    ("assess run blank.toml", USAGE, "blank.toml:1: there is no model in the file"),
    ("assess run lines.toml", USAGE, "more mistakes, in line 1)"),
    ("assess run huge.toml", USAGE, "is 1e308, outside 0 to 1e15"),
    ("assess run negative.toml", USAGE, "`rate` is -2/y, outside"),
    ("assess run model.toml --html s0", USAGE, "s0 is there and is no file"),
    (
        "assess run model.toml --html nowhere/page.html",
        ABSENT,
        "the directory nowhere does not exist",
    ),
    ("assess run model.toml --engine magic", USAGE, "invalid value 'magic'"),
    ("assess run model.toml --engine closed --missions 5", USAGE, "says something about simulated"),
    (
        "assess run model.toml --engine closed --html new.html",
        USAGE,
        "--html shows what chains give",
    ),
    ("assess run model.toml --missions 5", USAGE, "says something about simulated missions"),
    ("assess run model.toml --engine monte-carlo --missions 0", USAGE, "0 is not in 1.."),
    ("assess run model.toml --engine monte-carlo --seed -1", USAGE, "-1"),
    ("assess compare model.toml", USAGE, "<SECOND>"),
    ("assess compare model.toml nowhere.toml", ABSENT, "it does not exist"),
    ("assess compare plan.toml model.toml", USAGE, "plan.toml:"),
    ("assess advise plan.toml", USAGE, "plan.toml:"),
    ("assess advise model.toml --html s0", USAGE, "s0 is there and is no file"),
    ("assess compare model.toml model.toml --html s0", USAGE, "s0 is there and is no file"),
    ("assess backtest model.toml", USAGE, "<CAMPAIGN>"),
    ("assess backtest model.toml nowhere.json", ABSENT, "it does not exist"),
    ("assess backtest model.toml plan.toml", USAGE, "plan.toml:1: not JSON"),
    ("assess backtest model.toml empty.json", USAGE, "no campaign in it"),
    ("assess backtest model.toml seven.json", USAGE, "seven.json:2: "),
    ("assess backtest model.toml order.json", USAGE, "order.json:2: `at_ms` is 4, and an event"),
    ("assess backtest model.toml number.json", USAGE, "number.json:1: `server` is 9"),
    (
        "assess backtest model.toml other.json",
        USAGE,
        "other.json:1: a campaign of 3 servers under `hybrid`, and the service has 1 server under",
    ),
    (
        "assess backtest model.toml cut.json",
        USAGE,
        "cut.json:1: the campaign that begins here has no",
    ),
    ("assess backtest model.toml one.json --service nobody", USAGE, "there is no service `nobody`"),
    ("assess backtest model.toml one.json --acceleration 0", USAGE, "finite and above 0"),
    ("assess backtest model.toml one.json --acceleration inf", USAGE, "finite and above 0"),
    ("assess backtest model.toml one.json --level 1", USAGE, "between 0.5 and 0.9999"),
    ("assess prism plan.toml", USAGE, "plan.toml:"),
    ("assess prism model.toml --service nobody", USAGE, "the design has: signing"),
    ("assess prism model.toml --promise hope", USAGE, "invalid value 'hope'"),
    ("assess from-plan", USAGE, "<PLAN>"),
    ("assess from-plan nowhere.toml", ABSENT, "it does not exist"),
    ("assess from-plan model.toml", USAGE, "model.toml"),
    ("assess from-plan plan.toml --out model.toml", CONFLICT, "exists already"),
    ("assess from-plan plan.toml --out nowhere/model.toml", ABSENT, "nowhere does not exist"),
];

/// A model file that is right, and campaigns that are not.
pub(crate) fn damage(fixture: &Fixture) {
    fixture.write("model.toml", &fixture.done(&["assess", "example", "single-hsm"]));
    let model = fixture.done(&["assess", "example", "one-room"]);
    fixture.write("blank.toml", "# nothing yet\n\n");
    fixture.write("lines.toml", "version = 1");
    fixture.write("huge.toml", &model.replace("value = 2000000", "value = 1e308"));
    fixture.write("negative.toml", &model.replace("value = \"2/y\"", "value = \"-2/y\""));
    let one = "{\"event\":\"mission\",\"hours\":1,\"intruded\":[0]}\n";
    fixture.write("one.json", one);
    let begun = "{\"event\":\"attack_begun\",\"at_ms\":5,\"name\":\"kill\",\"server\":0}\n";
    let over = "{\"event\":\"attack_over\",\"at_ms\":4,\"name\":\"kill\",\"server\":0}\n";
    fixture.write("order.json", &format!("{begun}{over}"));
    fixture.write("number.json", &begun.replace("\"server\":0", "\"server\":9"));
    fixture.write("cut.json", begun);
    let other = "{\"event\":\"started\",\"servers\":3}\n\
                 {\"event\":\"verdict\",\"servers\":3,\"fault_model\":\"hybrid\"}\n";
    fixture.write("other.json", other);
    fixture.write("empty.json", "{\"event\":\"talk\"}\n");
    fixture.write("seven.json", &format!("{one}{}", one.replace("[0]", "[0,1,2,3,4,5,6]")));
}
