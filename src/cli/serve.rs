//! `polytty serve` and `polytty check`

use super::signals::{Hangup, Signals};
use super::{ConfigFile, Failed, runtime};
use crate::app::{self, App, Listeners, StartError};
use crate::config::{Config, ProviderKind, TicketStore};
use crate::observe::{LogFilter, init_log};

/// Runs the proxy until it is told to stop.
pub(super) fn serve(file: &ConfigFile) -> Result<(), Failed> {
    let loaded = file.load()?;
    loaded.verify_files().map_err(|mistakes| Failed::Config(mistakes.to_string()))?;
    let filter = init_log(&loaded.config.log).map_err(Failed::Config)?;
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let mut hangup = Hangup::new()?;
        let server = &loaded.config.server;
        let cluster = loaded.config.cluster.as_ref().map(|cluster| cluster.listen);
        let listeners = Listeners::bind(server.listen, server.admin_listen, cluster)?;
        tracing::info!(
            listen = %server.listen,
            public_url = %server.public_url,
            admin = ?server.admin_listen,
            cluster = ?cluster,
            config = ?loaded.file,
            version = env!("CARGO_PKG_VERSION"),
            "polytty serves"
        );
        let app = App::start(loaded.config, listeners, None).map_err(start_failed)?;
        loop {
            tokio::select! {
                () = signals.recv() => break,
                () = hangup.recv() => reload(file, &app, &filter),
            }
        }
        tracing::info!("draining; a second signal forces the end");
        signals.force_on_next(|| {});
        if !app.drain().await {
            tracing::warn!("some connections did not leave in time and were cut");
        }
        tracing::info!("polytty has ended");
        Ok(())
    })
}

/// Reads the configuration again. One with mistakes changes nothing, and each of them is logged.
fn reload(file: &ConfigFile, app: &App, filter: &LogFilter) {
    let loaded = file.load().and_then(|loaded| {
        loaded.verify_files().map_err(|mistakes| Failed::Config(mistakes.to_string()))?;
        let reloaded = app.reload(&loaded.config).map_err(start_failed)?;
        filter.set(&loaded.config.log.filter).map_err(Failed::Config)?;
        Ok(reloaded)
    });
    match loaded {
        Ok(reloaded) => {
            app.metrics().reload("applied");
            tracing::info!(changed = ?reloaded.applied, "the configuration was reloaded, certificates included");
            if !reloaded.kept.is_empty() {
                tracing::warn!(keys = ?reloaded.kept, "these have changed in the configuration and need a restart");
            }
        }
        Err(failed) => {
            app.metrics().reload("refused");
            let mistakes = match failed {
                Failed::Config(text) | Failed::Usage(text) => text,
                Failed::Run(error) => format!("{error:#}"),
            };
            for mistake in mistakes.lines() {
                tracing::error!(mistake = ?mistake, "the configuration has a mistake");
            }
            tracing::error!("nothing was reloaded; everything is as it was");
        }
    }
}

/// Tells every mistake of the configuration, and of the files that it names.
pub(super) fn check(file: &ConfigFile) -> Result<(), Failed> {
    let loaded = file.load()?;
    loaded.verify_files().map_err(|mistakes| Failed::Config(mistakes.to_string()))?;
    app::check(&loaded.config).map_err(start_failed)?;
    let source = loaded.file.as_ref().map_or("the environment".to_owned(), |file| file.display().to_string());
    println!(
        "{source} is fine: {} provider{}, {} key{}, links at {}",
        loaded.config.providers.len(),
        plural(loaded.config.providers.len()),
        loaded.config.keys.len(),
        plural(loaded.config.keys.len()),
        loaded.config.server.public_url,
    );
    one_replica_only(&loaded.config).iter().for_each(|why| println!("note: {why}"));
    Ok(())
}

/// Why there may be only one process behind `public_url`, if that is so.
fn one_replica_only(config: &Config) -> Vec<String> {
    if config.cluster.is_some() {
        return Vec::new();
    }
    let mut why = vec![match config.tickets.store {
        TicketStore::Memory => {
            "one replica only: tickets.store is \"memory\", so no other one knows its links".to_owned()
        }
        TicketStore::Redis(_) => "one replica only: without [cluster], no other one can reach its sessions".to_owned(),
    }];
    let shared = config.providers.iter().filter(|provider| matches!(provider.kind, ProviderKind::Oblien(_)));
    why.extend(shared.map(|provider| {
        format!("one replica only: the workspaces of provider {} take one connection at a time", provider.name)
    }));
    why
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A certificate that is of no use is a mistake of the configuration; an address in use is not.
fn start_failed(error: StartError) -> Failed {
    match error {
        StartError::Listen { .. } | StartError::NoRandomness => Failed::Run(error.into()),
        StartError::Tls(_)
        | StartError::Jwks(_)
        | StartError::JwtRoots(_)
        | StartError::StoreRoots(_)
        | StartError::Cluster(_)
        | StartError::Provider { .. }
        | StartError::Recording { .. } => Failed::Config(error.to_string()),
    }
}
