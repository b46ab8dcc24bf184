//! Software TPMs (`swtpm`), one a wormhole: stores that nobody rolls back, as long as nobody does.
//!
//! A TPM loses its power with its machine, and keeps what it stored: its process is killed, and started
//! again over the same files, which lie apart from the disks whose power is cut.
//!
//! **Guarantee:** the processes end with their [`Tpms`].

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ravelin_wormhole::launcher::PROGRAM_NAME;

use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::wormhole;

use super::tools::{self, Tool, complaint, path_of};

/// The index of the counter, in each TPM the same.
const INDEX: &str = "0x1800001";
/// How long one may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(10);

/// The TPMs of a cluster's wormholes.
pub(crate) struct Tpms(Vec<SoftwareTpm>);

struct SoftwareTpm {
    memory: PathBuf,
    socket: PathBuf,
    process: Option<Child>,
}

impl Tpms {
    /// Why there can be none here, if so.
    pub(crate) fn missing() -> Option<String> {
        tools::missing(&[Tool::Tpm])
    }

    /// Starts a TPM for each wormhole of `cluster`, none of which was ever started, makes its counter,
    /// and names it in the node file with the lease `every-unmetered`.
    pub(crate) fn insert(cluster: &LocalCluster) -> Result<Self> {
        let mut tpms = Self(Vec::new());
        for server in &cluster.servers {
            let Some(config) = &server.config.wormhole else { continue };
            let memory = cluster.dir.join(format!("tpm-{}", server.id));
            std::fs::create_dir(&memory).map_err(|error| Error::system("make", &memory, &error))?;
            let socket = cluster.dir.join(format!("tpm-{}.sock", server.id));
            let mut tpm = SoftwareTpm { memory, socket, process: None };
            tpm.start()?;
            anchor(&tpm.socket, &config.state)?;
            let failed = |error| Error::system("change", &server.node_file, &error);
            let text = std::fs::read_to_string(&server.node_file).map_err(failed)?;
            let table = "[wormhole]\n";
            let named =
                format!("{table}tpm = \"{}\"\nlease = \"every-unmetered\"\n", tpm.socket.display());
            std::fs::write(&server.node_file, text.replacen(table, &named, 1)).map_err(failed)?;
            tpms.0.push(tpm);
        }
        Ok(tpms)
    }

    /// Takes their power.
    pub(crate) fn cut(&mut self) {
        self.0.iter_mut().for_each(SoftwareTpm::kill);
    }

    /// Gives it back.
    pub(crate) fn revive(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(SoftwareTpm::start)
    }
}

/// Makes a counter and ties a wormhole's state to it.
fn anchor(socket: &Path, state: &Path) -> Result<()> {
    use std::os::unix::process::CommandExt as _;

    let (program, _) = wormhole::program()?;
    let mut command = Command::new(program);
    command.arg0(PROGRAM_NAME).args(["--anchor", INDEX, "--tpm"]).arg(socket);
    let Some(said) = complaint(command.arg("--state").arg(state))? else { return Ok(()) };
    let cause = format!("no counter could be made in a TPM: {said}");
    Err(Error::new(Exit::Failed, cause, "try `swtpm socket --tpm2` by hand"))
}

impl SoftwareTpm {
    fn start(&mut self) -> Result<()> {
        let program = path_of("swtpm").unwrap_or_else(|| PathBuf::from("swtpm"));
        let _ = std::fs::remove_file(&self.socket); // a killed one leaves it behind
        let process = Command::new(&program)
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--server", &format!("type=unixio,path={}", self.socket.display())])
            .args(["--tpmstate", &format!("dir={}", self.memory.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::system("run", &program, &error))?;
        self.process = Some(process);
        let begun = Instant::now();
        while !self.socket.exists() {
            if begun.elapsed() > LISTEN_MAX {
                let cause = format!("no TPM listens at {}", self.socket.display());
                return Err(Error::new(Exit::Failed, cause, "try `swtpm socket --tpm2` by hand"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill(); // it may have ended
            let _ = process.wait();
        }
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        self.kill();
    }
}
