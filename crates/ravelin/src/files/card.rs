//! A server's card: what `ravelin node card` prints and `ravelin cluster plan` takes. Public.

use std::fmt;
use std::path::Path;

use ravelin_model::limits::NAME_BYTES_MAX;
use ravelin_model::plan::Labels;
use ravelin_model::{Member, PlanError, PublicKey, WormholeKeys};
use serde::{Deserialize, Serialize};

use super::disk;
use super::hex::Hex;
use super::key::check_version;
use super::syntax::{Text, parse};
use crate::exit::{Error, Exit, Result};

/// Version of the format.
const VERSION: u16 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCard {
    version: u16,
    member: RawMember,
}

/// A server, as cards and plans write it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMember {
    name: String,
    identity: Hex<32>,
    block: Hex<32>,
    transport: Hex<32>,
    /// The provisioned key of its wormhole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wormhole: Option<Hex<32>>,
    /// The wormhole's instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<Hex<32>>,
    peer_address: String,
    client_address: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    administrator: String,
}

impl fmt::Display for RawMember {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}  servers at {}, clients at {}",
            self.name, self.peer_address, self.client_address
        )?;
        let labels =
            [("zone", &self.zone), ("os", &self.os), ("administrator", &self.administrator)];
        labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .try_for_each(|(name, value)| write!(out, ", {name} {value}"))?;
        let keys = [
            ("identity", Some(&self.identity)),
            ("block", Some(&self.block)),
            ("transport", Some(&self.transport)),
            ("wormhole", self.wormhole.as_ref()),
            ("instance", self.instance.as_ref()),
        ];
        keys.iter()
            .filter_map(|(name, key)| key.map(|key| (name, key)))
            .try_for_each(|(name, key)| write!(out, "\n  {name:<14}{key}"))
    }
}

impl From<RawMember> for Member {
    fn from(raw: RawMember) -> Self {
        Self {
            name: raw.name,
            identity: PublicKey(raw.identity.0),
            block: PublicKey(raw.block.0),
            transport: PublicKey(raw.transport.0),
            wormhole: raw.wormhole.map(|provisioned| WormholeKeys {
                provisioned: PublicKey(provisioned.0),
                instance: raw.instance.map(|instance| PublicKey(instance.0)),
            }),
            peer_address: raw.peer_address,
            client_address: raw.client_address,
            labels: Labels { zone: raw.zone, os: raw.os, administrator: raw.administrator },
        }
    }
}

impl From<&Member> for RawMember {
    fn from(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            identity: Hex(member.identity.0),
            block: Hex(member.block.0),
            transport: Hex(member.transport.0),
            wormhole: member.wormhole.map(|wormhole| Hex(wormhole.provisioned.0)),
            instance: member.wormhole.and_then(|it| it.instance).map(|instance| Hex(instance.0)),
            peer_address: member.peer_address.clone(),
            client_address: member.client_address.clone(),
            zone: member.labels.zone.clone(),
            os: member.labels.os.clone(),
            administrator: member.labels.administrator.clone(),
        }
    }
}

/// Reads a card.
pub(crate) fn read(path: &Path) -> Result<Member> {
    card(path, &disk::read(path, disk::Privacy::Public)?)
}

/// The card that `text`, the text of `path`, spells.
pub(crate) fn card(path: &Path, text: &str) -> Result<Member> {
    let raw: RawCard = parse(path, text)?;
    check_version(path, raw.version, VERSION)?;
    let member = Member::from(raw.member);
    check_name(&member.name)
        .and_then(|()| check_address(&member.peer_address))
        .and_then(|()| check_address(&member.client_address))
        .map_err(|error| error.context(path.display()))?;
    Ok(member)
}

/// The text of a server's card.
pub(crate) fn text(member: &Member) -> String {
    let mut text = Text::new("A Ravelin server's card, for `ravelin cluster plan`. Public.");
    text.number("version", VERSION.into());
    text.table("[member]");
    set_member(&mut text, member);
    text.finish()
}

/// Writes the keys of one server.
pub(super) fn set_member(text: &mut Text, member: &Member) {
    text.set("name", member.name.as_str());
    text.set("identity", member.identity.to_string());
    text.set("block", member.block.to_string());
    text.set("transport", member.transport.to_string());
    if let Some(wormhole) = &member.wormhole {
        text.set("wormhole", wormhole.provisioned.to_string());
        if let Some(instance) = &wormhole.instance {
            text.set("instance", instance.to_string());
        }
    }
    text.set("peer_address", member.peer_address.as_str());
    text.set("client_address", member.client_address.as_str());
    let labels = &member.labels;
    for (key, value) in
        [("zone", &labels.zone), ("os", &labels.os), ("administrator", &labels.administrator)]
    {
        if !value.is_empty() {
            text.set(key, value.as_str());
        }
    }
}

/// Refuses a name that no plan would take.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    if fits && name.chars().all(|letter| letter.is_ascii_graphic()) {
        return Ok(());
    }
    let error = PlanError::Name { name: name.to_owned() };
    Err(Error::caused(Exit::Usage, error, "for example the host's name"))
}

/// Refuses an address that others could not reach.
pub(crate) fn check_address(address: &str) -> Result<()> {
    let wrong = |what: &str| {
        let cause = format!("`{address}` is no address: {what}");
        Err(Error::usage(
            cause,
            "write host:port, as `node1.example.org:7701` or `[2001:db8::1]:7701`",
        ))
    };
    let Some((host, port)) = address.rsplit_once(':') else { return wrong("it has no port") };
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return wrong("its port is not a number from 1 to 65535");
    }
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if literal.unwrap_or(host).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return wrong("others cannot reach an unspecified host");
    }
    let fits = match literal {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter))
        }
    };
    if fits && address.len() <= 2 * NAME_BYTES_MAX {
        Ok(())
    } else {
        wrong("its host makes no sense")
    }
}
