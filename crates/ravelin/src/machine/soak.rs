//! What servers hold while nothing befalls them: samples over time, and whether they grow.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::slope::Fit;
use crate::cluster_dir::LocalCluster;
use crate::exit::Result;
use crate::processes::Processes;

/// Part of a run that is warming up, in percent: caches fill, the log gets its first segments.
const WARM_UP_PERCENT: usize = 25;

/// What a server holds of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Holding {
    /// Memory that no file stands behind, in MiB.
    MemoryMib,
    /// Open descriptors.
    Descriptors,
    /// Bytes of its data directory, in MiB.
    DataMib,
}

impl Holding {
    const ALL: [Self; 3] = [Self::MemoryMib, Self::Descriptors, Self::DataMib];

    /// In words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::MemoryMib => "anonymous memory, MiB",
            Self::Descriptors => "open descriptors",
            Self::DataMib => "data directory, MiB",
        }
    }

    /// Growth below which nothing is growth.
    fn grain(self) -> f64 {
        match self {
            Self::MemoryMib => 2.0,
            Self::Descriptors => 1.0,
            Self::DataMib => 16.0, // one segment of the log
        }
    }

    fn read(self, pid: u32, data: &Path) -> Option<f64> {
        match self {
            Self::MemoryMib => crate::cli::bench::anonymous_mib(pid),
            Self::Descriptors => Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as f64),
            Self::DataMib => Some(bytes_below(data) as f64 / f64::from(1 << 20)),
        }
    }
}

/// Bytes that the files below `dir` take on the disk; a file that goes meanwhile counts nothing.
fn bytes_below(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(of).sum()
}

/// Samples of all servers.
pub(crate) struct Samples {
    begun: Instant,
    /// Of each server and holding, in order: seconds and value.
    rows: Vec<Row>,
}

struct Row {
    server: u16,
    holding: Holding,
    points: Vec<(f64, f64)>,
}

/// What became of one row.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Slope {
    pub(crate) server: u16,
    pub(crate) holding: Holding,
    /// The last value.
    pub(crate) value: f64,
    /// The highest.
    pub(crate) most: f64,
    pub(crate) per_hour: f64,
    /// Standard deviation from the line.
    pub(crate) spread: f64,
    pub(crate) samples: usize,
    /// Whether it grows no more than it strays.
    pub(crate) flat: bool,
}

impl Samples {
    /// None yet.
    pub(crate) fn of(cluster: &LocalCluster) -> Self {
        let ids = cluster.servers.iter().map(|server| server.id.0);
        let rows = ids.flat_map(|server| {
            Holding::ALL.map(|holding| Row { server, holding, points: Vec::new() })
        });
        Self { begun: Instant::now(), rows: rows.collect() }
    }

    /// Looks at every server once.
    pub(crate) fn take(&mut self, cluster: &LocalCluster) -> Result<()> {
        let processes = Processes::of(cluster)?;
        for server in &cluster.servers {
            let Some(running) = processes.running(server.id)? else { continue };
            for row in self.rows.iter_mut().filter(|row| row.server == server.id.0) {
                let value = row.holding.read(running.pid, &server.config.data_dir);
                let at = self.begun.elapsed().as_secs_f64();
                row.points.extend(value.map(|value| (at, value)));
            }
        }
        Ok(())
    }

    /// What they show; rows with too few samples show nothing.
    pub(crate) fn slopes(&self) -> Vec<Slope> {
        self.rows.iter().filter_map(Row::slope).collect()
    }
}

impl Row {
    fn slope(&self) -> Option<Slope> {
        let settled = self.points.get(self.points.len() * WARM_UP_PERCENT / 100..)?;
        let fit = Fit::of(settled)?;
        Some(Slope {
            server: self.server,
            holding: self.holding,
            value: self.points.last()?.1,
            most: self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max),
            per_hour: fit.per_second * 3600.0,
            spread: fit.spread,
            samples: settled.len(),
            flat: fit.is_flat(self.holding.grain()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_after_the_beginning_is_told_from_what_grew_in_it() {
        let row = |value: fn(f64) -> f64| Row {
            server: 0,
            holding: Holding::MemoryMib,
            points: (0..100).map(|at| (f64::from(at), value(f64::from(at)))).collect(),
        };
        let warming = row(|at| at.min(20.0)).slope().expect("enough");
        assert!(warming.flat && warming.samples == 75);
        let leaking = row(|at| at).slope().expect("enough");
        assert!(!leaking.flat);
        assert!((leaking.per_hour - 3600.0).abs() < 1e-6);
    }

    #[test]
    fn the_bytes_of_a_directory_are_those_on_the_disk() {
        let dir = std::env::temp_dir().join(format!("ravelin-soak-{}", std::process::id()));
        fs::create_dir_all(dir.join("below")).expect("made");
        fs::write(dir.join("below/file"), vec![7; 100_000]).expect("written");
        assert!(bytes_below(&dir) >= 100_000);
        fs::remove_dir_all(dir).expect("ours");
    }
}
