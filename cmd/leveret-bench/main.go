// Command leveret-bench measures a broker: this one, Kafka, RabbitMQ or NATS, with the
// same load. It is a program of its own so that the broker's binary carries no load
// generators; package bench is all of it.
package main

import (
	"fmt"
	"os"

	"github.com/leveret-mq/leveret/bench"
	"github.com/leveret-mq/leveret/internal/program"
)

// version is set by the build (-X main.version=…).
var version = ""

func main() {
	c := bench.Command()
	c.Version = program.Version(version)
	if err := c.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "leveret-bench:", err)
		os.Exit(1)
	}
}
