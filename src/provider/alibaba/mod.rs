//! Alibaba Cloud: what its products share (signature, errors), and one file a product.

mod acs3;
mod gateway;
mod job;
mod link;
mod pai_dlc;
mod target;

pub use pai_dlc::PaiDlcProvider;
