//! `lath image`: the images that nodes of clusters pull.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use lath_registry::{Access, DIRECTORY, Image, Images, Loaded, Upstreams};
use tokio_util::sync::CancellationToken;

use crate::cli::{self, DataDir, ImageCommand, Output};
use crate::{config, output};

pub(crate) fn main(flags: &cli::Image) -> anyhow::Result<()> {
    match &flags.command {
        ImageCommand::Load {
            data_dir_flag,
            path,
            name,
        } => load(&open(data_dir_flag)?, path, name.as_ref()),
        ImageCommand::Pull {
            data_dir_flag,
            name,
            authorities,
            credentials,
            at,
        } => {
            let images = open(data_dir_flag)?;
            let hosts = at
                .iter()
                .map(|host| (name.registry().to_owned(), host.clone()));
            let upstreams = Upstreams {
                hosts: hosts.collect(),
                authorities: authorities.clone(),
                credentials: credentials.clone(),
            };
            let fetched = runtime()?.block_on(images.fetch(name, &upstreams))?;
            print_loaded(&[fetched])
        }
        ImageCommand::List {
            data_dir_flag,
            output,
        } => list(&open(data_dir_flag)?, *output),
        ImageCommand::Remove {
            data_dir_flag,
            name,
        } => {
            if !open(data_dir_flag)?.remove(name)? {
                bail!("there is no image {name}: `lath image list` lists them");
            }
            output::print(&format!("removed {name}\n"))
        }
        ImageCommand::Serve {
            data_dir_flag,
            listen,
        } => serve(open(data_dir_flag)?, *listen),
    }
}

fn open(flag: &DataDir) -> anyhow::Result<Images> {
    Ok(Images::open(config::data_dir(flag).join(DIRECTORY))?)
}

fn load(
    images: &Images,
    path: &Path,
    name: Option<&lath_registry::Reference>,
) -> anyhow::Result<()> {
    print_loaded(&images.load(path, name)?)
}

fn print_loaded(loaded: &[Loaded]) -> anyhow::Result<()> {
    let lines = loaded.iter().flat_map(|image| {
        let names = image.names.iter();
        names.map(|name| format!("{name} {}\n", image.digest))
    });
    output::print(&lines.collect::<String>())
}

fn list(images: &Images, format: Output) -> anyhow::Result<()> {
    let all = images.list()?;
    let text = match format {
        Output::Json => serde_json::to_string_pretty(&all)? + "\n",
        Output::Text => {
            let width = all.iter().map(|it| it.name.len()).max().unwrap_or(0);
            all.iter().map(|it| line(it, width)).collect()
        }
    };
    output::print(&text)
}

fn line(image: &Image, width: usize) -> String {
    let digits: String = image.digest.hex().chars().take(12).collect();
    let mebibytes = image.size.div_ceil(1 << 20);
    format!("{:width$}  {digits}  {mebibytes:>6} MiB\n", image.name)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build()
}

fn serve(images: Images, listen: SocketAddr) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        output::print(&format!("serving images on {}\n", listener.local_addr()?))?;
        let stop = CancellationToken::new();
        let _stopped = stop.clone().drop_guard();
        let serving = lath_registry::serve(listener, images, Access::Write, stop);
        tokio::select! {
            () = serving => Ok(()),
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    })
}
