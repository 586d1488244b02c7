//! Kafka clients written in Rust: rskafka, kafka-rust and samsa.

use futures::StreamExt;
use std::{error::Error, future::Future, time::Duration};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const WAIT: Duration = Duration::from_secs(20);

fn name(what: &str) -> String {
    format!("interop.rust.{what}.{}", std::process::id())
}

fn equal<T: PartialEq + std::fmt::Debug>(got: T, want: T, what: &str) -> Outcome {
    if got == want {
        return Ok(());
    }
    Err(format!("{what}: got {got:?}, want {want:?}").into())
}

/// Prints how a check went, and says whether it failed.
async fn check(title: &str, run: impl Future<Output = Outcome>) -> bool {
    let outcome = match tokio::time::timeout(2 * WAIT, run).await {
        Ok(outcome) => outcome,
        Err(_) => Err("not in time".into()),
    };
    match &outcome {
        Ok(()) => println!("PASS {title}"),
        Err(e) => println!("FAIL {title}: {}", format!("{e:?}").split_whitespace().collect::<Vec<_>>().join(" ")),
    }
    outcome.is_err()
}

/// Each codec there and back, with headers; offsets, a start that moves, topics made, listed and deleted.
async fn rskafka(addr: &str) -> Outcome {
    use rskafka::client::partition::{Compression, OffsetAt, UnknownTopicHandling};
    use rskafka::{client::ClientBuilder, record::Record};

    let client = ClientBuilder::new(vec![addr.to_string()]).build().await?;
    let (controller, topic) = (client.controller_client()?, name("rskafka"));
    controller.create_topic(&topic, 2, 1, 5000).await?;
    let partition = client.partition_client(topic.clone(), 0, UnknownTopicHandling::Retry).await?;
    let mut sent = vec![];
    for codec in [Compression::NoCompression, Compression::Gzip, Compression::Lz4, Compression::Snappy, Compression::Zstd] {
        let records: Vec<_> = (0..100)
            .map(|i| Record {
                key: (i % 3 > 0).then(|| vec![b'k']),
                value: Some(format!("{codec:?} {i}").into_bytes()),
                headers: [("h".to_string(), vec![i as u8])].into(),
                timestamp: chrono::DateTime::from_timestamp_millis(1_700_000_000_000 + i).unwrap(),
            })
            .collect();
        partition.produce(records.clone(), codec).await?;
        sent.extend(records);
    }
    let mut got = vec![];
    while got.len() < sent.len() {
        let (records, _) = partition.fetch_records(got.len() as i64, 1..1_000_000, 1000).await?;
        got.extend(records.into_iter().map(|r| r.record));
    }
    equal(got == sent, true, "what is read is what was sent")?;
    partition.delete_records(100, 5000).await?;
    let (first, end) = (partition.get_offset(OffsetAt::Earliest).await?, partition.get_offset(OffsetAt::Latest).await?);
    equal((first, end), (100, 500), "start and end")?;
    equal(client.list_topics().await?.iter().any(|t| t.name == topic && t.partitions.len() == 2), true, "the topic is listed")?;
    controller.delete_topic(&topic, 5000).await?;
    Ok(())
}

/// Each codec, and a group's offsets: what was committed does not come again. It makes its topic by asking for it.
fn kafka_rust(addr: &str) -> Outcome {
    use kafka::client::{Compression, KafkaClient};
    use kafka::consumer::{Consumer, FetchOffset, GroupOffsetStorage};
    use kafka::producer::{Producer, Record, RequiredAcks};

    let topic = name("kafka-rust");
    for codec in [Compression::NONE, Compression::GZIP, Compression::SNAPPY] {
        let mut client = KafkaClient::new(vec![addr.to_string()]);
        client.set_compression(codec);
        let _ = client.load_metadata(&[topic.clone()]);
        client.load_metadata_all()?;
        let mut producer = Producer::from_client(client).with_required_acks(RequiredAcks::One).create()?;
        let records: Vec<_> = (0..100).map(|i| Record::from_key_value(&topic, "k", format!("{i}"))).collect();
        for sent in producer.send_all(&records)? {
            for partition in sent.partition_confirms {
                partition.offset.map_err(|e| format!("{e:?}"))?;
            }
        }
    }
    for want in [300, 0] {
        let mut consumer = Consumer::from_hosts(vec![addr.to_string()])
            .with_topic(topic.clone())
            .with_group(name("kafka-rust-group"))
            .with_fallback_offset(FetchOffset::Earliest)
            .with_offset_storage(Some(GroupOffsetStorage::Kafka))
            .create()?;
        let mut got = 0;
        for _ in 0..if want > 0 { 200 } else { 3 } {
            for set in consumer.poll()?.iter() {
                got += set.messages().len();
                consumer.consume_messageset(set)?;
            }
            consumer.commit_consumed()?;
            if want > 0 && got >= want {
                break;
            }
        }
        equal(got, want, "messages")?;
    }
    Ok(())
}

/// A producer's stream with and without gzip, and a group that reads it. Topics are made for it.
async fn samsa(addr: &str) -> Outcome {
    use samsa::prelude::*;

    let (host, port) = addr.split_once(':').ok_or("no port")?;
    let (brokers, topic) = (vec![BrokerAddress { host: host.to_string(), port: port.parse()? }], name("samsa"));
    rskafka::client::ClientBuilder::new(vec![addr.to_string()]).build().await?.controller_client()?.create_topic(&topic, 2, 1, 5000).await?;
    for codec in [None, Some(Compression::Gzip)] {
        let to = topic.clone();
        let stream = futures::stream::iter(0..100).map(move |i| ProduceMessage {
            topic: to.clone(),
            partition_id: i % 2,
            key: Some(bytes::Bytes::from_static(b"k")),
            value: Some(bytes::Bytes::from(format!("{i}"))),
            headers: vec![],
        });
        let mut builder = ProducerBuilder::<TcpConnection>::new(brokers.clone(), vec![topic.clone()]).await.map_err(|e| format!("{e:?}"))?;
        builder.batch_timeout_ms(50).max_batch_size(10);
        if let Some(codec) = codec {
            builder.compression(codec);
        }
        let acks = builder.clone().build_from_stream(stream.chunks(10)).await;
        tokio::pin!(acks);
        for _ in 0..10 {
            acks.next().await.ok_or("the stream of acks ends")?;
        }
    }
    let partitions = TopicPartitionsBuilder::new().assign(topic, vec![0, 1]).build();
    let group = ConsumerGroupBuilder::<TcpConnection>::new(brokers, name("samsa-group"), partitions).await.map_err(|e| format!("{e:?}"))?;
    let messages = group.build().await.map_err(|e| format!("{e:?}"))?.into_stream();
    tokio::pin!(messages);
    let mut got = 0;
    while got < 200 {
        got += messages.next().await.ok_or("the stream of messages ends")?.map_err(|e| format!("{e:?}"))?.count();
    }
    equal(got, 200, "messages")
}

#[tokio::main]
async fn main() {
    let addr = std::env::var("KAFKA_ADDR").unwrap_or("127.0.0.1:9092".to_string());
    let mut failed = check("rskafka: each codec, offsets, a start that moves, topics", rskafka(&addr)).await;
    let at = addr.clone();
    let blocking = async move { tokio::task::spawn_blocking(move || kafka_rust(&at)).await? };
    failed |= check("kafka-rust: each codec, a group's offsets", blocking).await;
    failed |= check("samsa: streams in and out, a group", samsa(&addr)).await;
    std::process::exit(failed as i32);
}
