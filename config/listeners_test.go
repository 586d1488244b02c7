package config

import (
	"slices"
	"strings"
	"testing"
)

func TestKafkaListenersAndWhatTheirClientsAreTold(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		environ []string
		want    []Listener
	}{
		{"default", nil, nil, []Listener{{Addr: ":9092"}}},
		{"off", []string{"--kafka-addr=off"}, nil, nil},
		{"one that is advertised", []string{"--kafka-advertised=h:1"}, nil, []Listener{{Addr: ":9092", Advertised: "h:1"}}},
		{"named", []string{"--kafka-addr=inside://:9092, OUTSIDE://0.0.0.0:9094", "--kafka-advertised=outside://h:1"}, nil,
			[]Listener{{Name: "inside", Addr: ":9092", Advertised: ""}, {Name: "OUTSIDE", Addr: "0.0.0.0:9094", Advertised: "h:1"}}},
		{"the rest", []string{"--kafka-addr=a://:1,b://:2,c://:3", "--kafka-advertised=x:9,b://y:9"}, nil,
			[]Listener{{Name: "a", Addr: ":1", Advertised: "x:9"}, {Name: "b", Addr: ":2", Advertised: "y:9"}, {Name: "c", Addr: ":3", Advertised: "x:9"}}},
		{"without names", []string{"--kafka-addr=:1,[::1]:2"}, nil, []Listener{{Addr: ":1"}, {Addr: "[::1]:2"}}},
		{"Kafka's, for one of ours", []string{"--kafka-addr=:1"}, []string{"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://h:9092"}, []Listener{{Addr: ":1", Advertised: "h:9092"}}},
		{"Kafka's advertised alone", nil, []string{"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://broker:29092,PLAINTEXT_HOST://localhost:9092"},
			[]Listener{{Name: "PLAINTEXT", Addr: ":29092", Advertised: "broker:29092"}, {Name: "PLAINTEXT_HOST", Addr: ":9092", Advertised: "localhost:9092"}}},
		{"Kafka's with a controller", nil, []string{"KAFKA_LISTENERS=PLAINTEXT://:29092,CONTROLLER://:29093,QUORUM://:29094,HOST://0.0.0.0:9092",
			"KAFKA_CONTROLLER_LISTENER_NAMES=QUORUM", "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://broker:29092,HOST://localhost:9092", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=HOST:PLAINTEXT"},
			[]Listener{{Name: "PLAINTEXT", Addr: ":29092", Advertised: "broker:29092"}, {Name: "HOST", Addr: "0.0.0.0:9092", Advertised: "localhost:9092"}}},
		{"with TLS", []string{"--tls-cert=c", "--tls-key=k"}, nil, []Listener{{Addr: ":9092"}, {TLS: true, Addr: ":9093"}}},
		{"with TLS alone", []string{"--tls-cert=c", "--tls-key=k", "--kafka-addr=off", "--kafka-tls-addr=a://:1,b://:2", "--kafka-tls-advertised=b://h:2"}, nil,
			[]Listener{{TLS: true, Name: "a", Addr: ":1"}, {TLS: true, Name: "b", Addr: ":2", Advertised: "h:2"}}},
		{"with a certificate, and none with TLS", []string{"--tls-cert=c", "--tls-key=k", "--kafka-tls-addr=off"}, nil, []Listener{{Addr: ":9092"}}},
		{"Kafka's with TLS", []string{"--tls-cert=c", "--tls-key=k"}, []string{"KAFKA_LISTENERS=PLAINTEXT://:1,OUT://:2,SSL://:3", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=OUT:SASL_SSL",
			"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://h:1,OUT://h:2,SSL://h:3"},
			[]Listener{{Name: "PLAINTEXT", Addr: ":1", Advertised: "h:1"}, {TLS: true, Name: "OUT", Addr: ":2", Advertised: "h:2"}, {TLS: true, Name: "SSL", Addr: ":3", Advertised: "h:3"}}},
		{"Kafka's with TLS only", []string{"--tls-cert=c", "--tls-key=k"}, []string{"KAFKA_ADVERTISED_LISTENERS=SSL://h:3"},
			[]Listener{{TLS: true, Name: "SSL", Addr: ":3", Advertised: "h:3"}}},
		{"Kafka's controller only", nil, []string{"KAFKA_LISTENERS=CONTROLLER://:1"}, []Listener{{Addr: ":9092"}}},
		{"ours wins", nil, []string{"KAFKA_LISTENERS=A://:1", "LEVERET_KAFKA_ADDR=:2", "KAFKA_ADVERTISED_LISTENERS="}, []Listener{{Addr: ":2"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings, err := load(c.args, c.environ)
			if err != nil {
				t.Fatal(err)
			}
			got, err := settings.KafkaListeners()
			for i, l := range got {
				if kind := map[bool]string{false: "kafka", true: "kafka-tls"}[l.TLS]; l.Kind != kind || l.Flag != kind+"-addr" {
					t.Errorf("%+v", l)
				}
				got[i].Kind, got[i].Flag = "", ""
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v %v, want %v", err, got, c.want)
			}
		})
	}
}

func TestListenersThatMakeNoSenseAreRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		environ []string
		want    string
	}{
		{"name twice", []string{"--kafka-addr=a://:1,A://:2"}, nil, "--kafka-addr: the name A stands twice"},
		{"address twice", []string{"--kafka-addr=a://:1,b://:1"}, nil, "--kafka-addr: the address :1 stands twice"},
		{"bad name", []string{"--kafka-addr=a b://:1"}, nil, "--kafka-addr: "},
		{"no name", []string{"--kafka-addr=://:1"}, nil, "--kafka-addr: "},
		{"off beside another", []string{"--kafka-addr=:1,off"}, nil, "--kafka-addr: off stands alone"},
		{"empty one", []string{"--kafka-addr=:1,"}, nil, "--kafka-addr: "},
		{"too many", []string{"--kafka-addr=" + strings.Repeat(":0,", 40) + ":0"}, nil, "more than 32"},
		{"nobody called so", []string{"--kafka-addr=a://:1,b://:2", "--kafka-advertised=c://h:1"}, nil, "--kafka-advertised: c://h:1: no listener"},
		{"one that is called otherwise", []string{"--kafka-addr=a://:1", "--kafka-advertised=b://h:1"}, nil, "--kafka-advertised: b://h:1: no listener"},
		{"two for one", []string{"--kafka-addr=:1", "--kafka-advertised=a://h:1,b://h:2"}, nil, "--kafka-advertised: a://h:1: no listener"},
		{"two without a name", []string{"--kafka-addr=a://:1,b://:2", "--kafka-advertised=h:1,h:2"}, nil, "--kafka-advertised: "},
		{"half an address", []string{"--kafka-advertised=a://:9092"}, nil, "--kafka-advertised: \":9092\" is not host:port"},
		{"Kafka's without a name", nil, []string{"KAFKA_LISTENERS=:9092"}, "KAFKA_LISTENERS: \":9092\" is not NAME://host:port"},
		{"Kafka's half an address", nil, []string{"KAFKA_ADVERTISED_LISTENERS=A://:9092"}, "KAFKA_ADVERTISED_LISTENERS: "},
		{"Kafka's bad port", nil, []string{"KAFKA_LISTENERS=A://h:x"}, "KAFKA_LISTENERS: "},
		{"Kafka's with TLS", nil, []string{"KAFKA_LISTENERS=A://:1", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=A:SASL_SSL"}, "KAFKA_LISTENERS: needs a certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(c.args, c.environ)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
	name := fileWith(t, "log-level = \"info\"\nkafka-addr = [\"a://:1\", \"a://:2\"]\n")
	if _, err := load([]string{"--config", name}, nil); err == nil || !strings.HasPrefix(err.Error(), name+":2: kafka-addr: ") {
		t.Error(err)
	}
}

func TestRabbitMQsDefaultUserIsReadFromTheEnvironment(t *testing.T) {
	name := fileWith(t, "default-user = \"file\"\n")
	c, err := load([]string{"--config", name}, []string{"RABBITMQ_DEFAULT_USER=ann", "RABBITMQ_DEFAULT_PASS=hunter2", "RABBITMQ_DEFAULT_VHOST=shop"})
	if err != nil || c.DefaultUser != "ann" || c.DefaultVHost != "shop" || c.DefaultPassword != "hunter2" {
		t.Errorf("%v %q", err, c.DefaultUser)
	}
	if got := c.Origin("default-user").String(); got != "environment variable RABBITMQ_DEFAULT_USER" {
		t.Error(got)
	}
	if c, err = load(nil, []string{"RABBITMQ_DEFAULT_USER=ann", "LEVERET_DEFAULT_USER=bob"}); err != nil || c.DefaultUser != "bob" {
		t.Errorf("%v %q", err, c.DefaultUser)
	}
	if c, err = load(nil, []string{"RABBITMQ_DEFAULT_USER="}); err != nil || c.DefaultUser != "guest" {
		t.Errorf("%v %q", err, c.DefaultUser)
	}
}
