package amqp

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/field"
)

// Properties that come by turns are each what they are, remembered or not, and cost no allocation once they were seen.
func TestPropertiesThatComeByTurnsKeepWhatTheySay(t *testing.T) {
	var raws []wire.RawProperties
	for i := range 200 { // more than are remembered
		p := wire.Properties{Flags: field.FlagPriority | field.FlagDeliveryMode | field.FlagMessageID, Priority: uint8(i), DeliveryMode: uint8(1 + i%2), MessageID: fmt.Append(nil, "m", i)}
		if i%3 == 0 {
			p.Flags |= field.FlagHeaders
			p.Headers = wire.AppendTableString(nil, "n", fmt.Sprint(i))
		}
		raws = append(raws, p.Append(nil))
	}
	var in inbound
	for round := range 3 {
		for i, raw := range raws {
			for range 1 + i%2 {
				if err := in.take(&wire.Publish{Properties: raw}, "guest"); err != nil {
					t.Fatal(err)
				}
				n, has := wire.Table(in.Headers).Get("n")
				if in.persistent != (i%2 == 1) || has != (i%3 == 0) || has && string(n.Value) != fmt.Sprint(i) {
					t.Fatalf("round %d, message %d: persistent %t, headers %q", round, i, in.persistent, in.Headers)
				}
			}
		}
	}
	few := raws[:4]
	if n := testing.AllocsPerRun(100, func() {
		for _, raw := range few {
			_ = in.take(&wire.Publish{Properties: raw}, "guest")
		}
	}); n > 0 {
		t.Errorf("%v allocations for properties that were seen", n)
	}
}
