//! Alibaba Cloud: what its products share (signature, errors, links), and one file or folder a product.

mod acs3;
mod api;
mod eci;
mod gateway;
mod job;
mod link;
mod pai_dlc;
mod target;

pub use eci::EciProvider;
pub use pai_dlc::PaiDlcProvider;
