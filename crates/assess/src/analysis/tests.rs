use super::risk;
use super::situation::Situation;
use super::solve::{self, Grade, Question};
use super::sweeps;
use crate::design::{Design, Property};
use std::time::Instant;

#[test]
fn scratch() {
    for name in ["one-room", "three-clouds", "hybrid-weak-isolation", "single-hsm"] {
        let path = format!("{}/../../examples/assess/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let design = Design::parse(name, &text).unwrap();
        let s = Situation::of(&design, &design.services[0]);
        println!(
            "{name} rate {:.4}/y p {:.4}",
            s.mean_rate() * 8760.0,
            1.0 - (-s.mean_rate() * s.mission).exp()
        );
        let t = Instant::now();
        println!(
            " exceeded {:?} mttf {:?} {:?}",
            solve::by_mission(&s, Question::Exceeded, Grade::Result),
            solve::mean_time(&s, Question::Exceeded),
            t.elapsed()
        );
        for p in Property::ALL {
            let t = Instant::now();
            let q = Question::Broken(p);
            println!(
                " {p:?} {:?} swept {:?} mttf {:?} avail {:?} {:?}",
                solve::by_mission(&s, q, Grade::Result),
                solve::by_mission(&s, q, Grade::Swept),
                solve::mean_time(&s, q),
                solve::availability(&s, p),
                t.elapsed()
            );
        }
        let t = Instant::now();
        for sweep in sweeps::sweeps(&s).unwrap() {
            println!(
                " {} current {:?} knee {:?}\n    {}",
                sweep.parameter, sweep.current, sweep.knee, sweep.text
            );
            for l in &sweep.series {
                println!(
                    "    {}: {}",
                    l.name,
                    l.points
                        .iter()
                        .map(|p| format!("{}:{:.3e}", p.x, p.y))
                        .collect::<Vec<_>>()
                        .join(" ")
                );
            }
        }
        println!(" sweeps {:?}", t.elapsed());
        let t = Instant::now();
        println!(" causes {:?}", risk::causes(&s, &|k, v| format!("{} {v}", k.name())));
        println!(" causes {:?}", t.elapsed());
        let t = Instant::now();
        for e in risk::elasticities(&design, 0).unwrap() {
            println!("  {} {:.4} {:.3e} {:.3e}", e.input, e.elasticity, e.low, e.high);
        }
        println!(" tornado {:?}", t.elapsed());
    }
}

#[test]
fn scratch2() {
    let mut all = Vec::new();
    for name in ["one-room", "three-clouds", "hybrid-weak-isolation", "single-hsm"] {
        let path = format!("{}/../../examples/assess/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let design = Design::parse(name, &text).unwrap();
        let t = Instant::now();
        let a =
            super::assess(&design, &super::Effort::default(), &|_, _| {}, &false.into()).unwrap();
        println!("== {name} {:?}", t.elapsed());
        for f in a.warnings.iter().chain(&a.conclusions) {
            println!("{:?} {} {} [{}]", f.severity, f.id, f.text, f.hint);
        }
        println!("{:?}", a.services[0].cuts);
        println!("{:?}", a.services[0].economics);
        println!("{:?}", a.services[0].strategy_numbers);
        println!("{:?}", a.trust);
        let t = Instant::now();
        for s in super::advise(&design).unwrap().services {
            println!("advice {:?}", s.text);
            for c in s.changes {
                println!(
                    "   {} {:?} {:.3e} -> {:.3e} {}",
                    c.kind, c.cost, c.risk_before, c.risk_after, c.text
                );
            }
            for c in s.plan {
                println!(
                    "  PLAN {} {:?} {:.3e} -> {:.3e} {}",
                    c.kind, c.cost, c.risk_before, c.risk_after, c.text
                );
            }
        }
        println!("advice {:?}", t.elapsed());
        all.push(a);
    }
    let c = super::compare(&all[0], &all[3]);
    for r in c.rows {
        println!("{} {:?} {:?} {:?} {:?}", r.quantity, r.property, r.first, r.second, r.better);
    }
    println!("{:?}", c.conclusions);
}
