//! What the demo and the end-to-end tests share.

pub mod bench;
pub mod cluster;
pub mod command;
pub mod database;
pub mod example;
pub mod fetch;
pub mod images;
pub mod install;
pub mod load;
pub mod locality;
pub mod observe;
pub mod processes;
pub mod progress;
pub mod project;
pub mod report;
pub mod risk;
pub mod shop;
pub mod site;
pub mod slots;
pub mod swap;
pub mod trial;
