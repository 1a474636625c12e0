//! `lath serve --regions`: every region is a cell, two processes with a data directory and a network of their
//! own, under a supervisor that starts what dies and holds the one front door.

mod faults;
mod front;
mod hold;
mod keeper;
mod layout;
mod process;
mod report;
mod roles;
mod sole;
mod supervisor;
mod wan;

pub(crate) use layout::{check_files, refuse_if_cells, regions_in, was_served};
pub(crate) use roles::{control, node, witness};
pub(crate) use supervisor::{Supervisor, join_survivors, supervise};
