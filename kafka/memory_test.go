package kafka

import (
	"errors"
	"testing"

	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/group"
)

func TestMemoryOfGroupsTellsNowFromNever(t *testing.T) {
	b := budget.New(budget.Options{Bytes: 1000, Share: 1000, Free: -1, Reserve: -1})
	m, other := memory{b.OpenCommon()}, b.Open()
	if err := other.Try(800); err != nil {
		t.Fatal(err)
	}
	if err := m.Try(300); !errors.Is(err, group.ErrLater) {
		t.Errorf("what others hold: %v", err)
	}
	if err := m.Try(600); err == nil || errors.Is(err, group.ErrLater) {
		t.Errorf("more than groups may have: %v", err)
	}
	if err := m.Try(200); err != nil {
		t.Error(err)
	}
}
