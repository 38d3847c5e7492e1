//! Sessions that may only be so fast: nothing is dropped, nothing comes out of order, and the rest of the session lives.

use super::*;

fn pace(input_bytes: u64, input_messages: u64, output_bytes: u64) -> PaceSettings {
    let rate = |rate| (rate > 0).then_some(rate);
    PaceSettings {
        input_bytes: rate(input_bytes),
        input_messages: rate(input_messages),
        output_bytes: rate(output_bytes),
    }
}

/// How often sessions of this world were held back by a limit.
fn held(world: &World, limit: &str) -> u64 {
    let text = world.metrics.render(0);
    let prefix = format!("polytty_limited_total{{limit=\"{limit}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).map_or(0, |count| count.parse().unwrap())
}

/// Waits until so much has been typed into the terminal; how long that took.
async fn typed(terminal: &Terminal, count: usize) -> Duration {
    let started = Instant::now();
    let waiting = async {
        while terminal.typed().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("all of it is delivered");
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn input_beyond_its_rate_waits_and_every_byte_of_it_is_delivered_in_order() {
    for (pace, limit) in [(pace(10_000, 0, 0), "input_bytes_per_second"), (pace(0, 10, 0), "input_messages_per_second")]
    {
        let mut world = World::paced(pace, b"", None).await;
        let bytes = noise(100_000);
        // A second's worth passes at once.
        for piece in bytes[..10_000].chunks(1000) {
            world.client.say(Kind::Binary, piece).await;
        }
        assert!(typed(&world.terminal, 10_000).await < Duration::from_millis(50));
        assert_eq!(held(&world, limit), 0, "reached, not exceeded");
        for piece in bytes[10_000..].chunks(1000) {
            world.client.say(Kind::Binary, piece).await;
        }
        let took = typed(&world.terminal, 100_000).await;
        assert!((Duration::from_millis(8500)..Duration::from_millis(9500)).contains(&took), "{took:?}");
        assert!(world.terminal.typed() == bytes);
        assert!(held(&world, limit) > 0);
        // After a pause it is as fast as ever.
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.client.say(Kind::Binary, &bytes[..1000]).await;
        assert!(typed(&world.terminal, 101_000).await < Duration::from_millis(50));
    }
}

#[tokio::test(start_paused = true)]
async fn while_its_input_is_held_back_a_client_gets_its_output_although_it_acknowledges_nothing() {
    let mut world = World::paced(pace(0, 10, 0), b"", None).await;
    world.client.say(Kind::Text, br#"{"operation":"ack","bytes":0}"#).await;
    for _ in 0..100 {
        world.client.say(Kind::Binary, b"x").await;
    }
    typed(&world.terminal, 5).await;
    let output = noise(400_000);
    world.terminal.says(&output);
    let started = Instant::now();
    let mut got = Vec::new();
    while got.len() < output.len() {
        match world.client.next().await {
            Incoming::Message(Kind::Binary, bytes) => got.extend_from_slice(&bytes),
            Incoming::Message(Kind::Text, _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(got == output);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(world.terminal.typed().len() < 90, "its input is still on its way");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_held_back_and_lost_costs_no_processor_and_none_of_what_it_sent() {
    let mut world = World::paced(pace(0, 10, 0), b"", None).await;
    for _ in 0..60 {
        world.client.say(Kind::Binary, b"x").await;
    }
    typed(&world.terminal, 10).await;
    let World { session, terminal, client, .. } = world;
    drop(client);
    // Output that cannot be sent shows that it is gone.
    terminal.says(&noise(1000));
    let took = typed(&terminal, 60).await;
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&took), "{took:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(session.info().state, State::Detached);
}

#[tokio::test(start_paused = true)]
async fn output_beyond_its_rate_waits_at_the_provider_and_comes_whole() {
    let mut world = World::paced(pace(0, 0, 20_000), b"", None).await;
    for piece in noise(200_000).chunks(5_000) {
        world.terminal.says(piece);
    }
    world.terminal.does(b"", exit(0));
    let started = Instant::now();
    let (mut got, mut taken_early) = (Vec::new(), 0);
    while got.len() < 200_000 {
        match world.client.next().await {
            Incoming::Message(Kind::Binary, bytes) => got.extend_from_slice(&bytes),
            Incoming::Message(Kind::Text, _) => {}
            other => panic!("{other:?}"),
        }
        if started.elapsed() < Duration::from_secs(1) {
            taken_early = world.terminal.taken();
        }
    }
    assert!(got == noise(200_000));
    assert!(taken_early < 50_000, "{taken_early} of it was read in the first second");
    let took = started.elapsed();
    assert!((Duration::from_millis(8900)..Duration::from_millis(9600)).contains(&took), "{took:?}");
    assert!(held(&world, "output_bytes_per_second") > 0);
    let (rest, said, close) = world.client.drain().await;
    assert_eq!((rest.len(), said.last().unwrap().as_str(), close), (0, "exit", Some(1000)));
}
