//! How fast the engines are: a chain of more than 10^5 states, and 10^7 missions of four servers.
//!
//! `cargo run --release -p ravelin-engines --example engines_speed`

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ravelin_engines::chain::ServiceChain;
use ravelin_engines::mission::{self, Missions};
use ravelin_engines::{
    Crew, Detection, EngineError, Outage, Property, Recovery, Rejuvenation, Schedule, ServerGroup,
    Service,
};

const WEEK: f64 = 168.0;

fn main() -> Result<(), EngineError> {
    chain()?;
    missions()
}

/// Eleven servers in two places, each with latent and hidden intrusions, recovery, outages and
/// rejuvenation.
fn chain() -> Result<(), EngineError> {
    let group = |count, intrusion_rate| ServerGroup {
        count,
        intrusion_rate,
        detection: Detection { probability: 0.8, latency: 12.0 },
        recovery: Some(Recovery { rate: 0.5, crew: Crew::Parallel }),
        rejuvenation: Some(Rejuvenation {
            every: 720.0,
            downtime: 1.0,
            at_once: 1,
            expels: 1.0,
            schedule: Schedule::Random,
        }),
        outage: Some(Outage { rate: 0.001, duration: 4.0 }),
    };
    let groups = vec![group(6, 1e-4), group(5, 2e-4)];
    let service = Service { groups, tolerated: 3, quorum: 7, shocks: Vec::new(), refresh: None };
    let start = Instant::now();
    let chain = ServiceChain::with_repair(&service, Property::Integrity, 1)?;
    let transitions = chain.chain().transition_count();
    println!("chain of {} states, {transitions} transitions", chain.state_count());
    println!("  built                {:6.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let failed = chain.failed_at(WEEK)?;
    println!("  failed after a week  {:6.2} s  {failed:.9e}", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let share = chain.failed_share()?;
    println!("  failed in the long run {:4.2} s  {share:.9e}", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mean = chain.mean_time_to_failure()?;
    println!("  mean time to failure {:6.2} s  {mean:.9e} h", start.elapsed().as_secs_f64());
    Ok(())
}

/// Ten million missions of (4, 1): without repair, and with.
fn missions() -> Result<(), EngineError> {
    let count = 10_000_000;
    let missions = Missions {
        count,
        hours: 100.0,
        seed: 1,
        threads: 0,
        level: 0.99,
        points: vec![10.0, 50.0],
    };
    let cases = [
        ("no repair", Service::of(ServerGroup::unattended(4, 0.01), 1)),
        ("repair at 1/h", Service::of(ServerGroup::repaired(4, 0.01, 1.0), 1)),
    ];
    for (name, service) in cases {
        let start = Instant::now();
        let outcome = mission::run(&service, &missions, &|_, _| (), &AtomicBool::new(false))?;
        let seconds = start.elapsed().as_secs_f64();
        let exact =
            ServiceChain::until_failure(&service, Property::Integrity, 1)?.failed_at(100.0)?;
        for property in outcome.properties.iter().filter(|it| it.property == Property::Integrity) {
            let failed = property.failed;
            println!(
                "{count} missions, {name}: {seconds:.2} s  {:.6} in {:.6}..{:.6}, chain {exact:.6}",
                failed.value, failed.low, failed.high
            );
        }
    }
    Ok(())
}
