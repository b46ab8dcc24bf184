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
