// Package cli is the command line of a running broker: the verbs with which people look at it, set it up
// and move messages, and those of rabbitmqctl. It asks the broker's HTTP API and nothing else, as any other
// client of it would: who may do what is decided there.
//
// Where to look:
//
//   - execute.go runs a command line and says with which status it ends;
//   - target.go is which broker is meant and as whom, client.go asks it, failure.go says what went wrong;
//   - kinds.go is the table of what can be listed, shown and deleted: one line more is three verbs more;
//   - declare.go and bind.go make things; publish.go, consume.go and tail.go are about messages;
//   - ctl.go is the table of rabbitmqctl's verbs, foreign.go the words of other tools;
//   - table.go and terminal.go are how things look. What comes from a broker is shown to people only
//     through clean, so that a name or a message can't steer a terminal.
//
// It must not reach into the broker: no package of the broker is imported.
package cli
