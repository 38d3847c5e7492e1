//! `kind = "eci"`.

use polytty_dialect::channel::ResizeMode;

use super::super::checked::Eci;
use super::super::section::{Read, Section};
use super::{Alibaba, alibaba};

const RESIZE_MODES: [(&str, ResizeMode); 3] =
    [("k8s4", ResizeMode::K8s4), ("stty", ResizeMode::Stty), ("off", ResizeMode::Off)];

const SUBPROTOCOLS: [(&str, &str); 1] = [("v4.channel.k8s.io", "v4.channel.k8s.io")];

pub(super) fn eci(section: &mut Section<'_>, allow_private: Read<bool>) -> Read<Eci> {
    let cloud = alibaba(section, "eci", allow_private);
    let resize_mode = section.or("resize_mode", ResizeMode::default(), |field| field.one_of(&RESIZE_MODES));
    let subprotocol = section.optional("subprotocol", |field| field.one_of(&SUBPROTOCOLS));
    let Alibaba { region, endpoint, access_key_id, access_key_secret, security_token, websocket_hosts } = cloud?;
    Ok(Eci {
        region,
        endpoint,
        access_key_id,
        access_key_secret,
        security_token,
        websocket_hosts,
        resize_mode: resize_mode?,
        subprotocol: subprotocol?,
    })
}
