package logged

import (
	"strings"
	"testing"
)

func TestLinesAreThereUntilTheyAreTaken(t *testing.T) {
	var l Lines
	log := l.Logger()
	log.Debug("quiet")
	log.Info("first")
	if got := l.String(); !strings.Contains(got, "msg=first") || strings.Contains(got, "quiet") {
		t.Errorf("logged %q", got)
	}
	if got := l.Take(); !strings.Contains(got, "msg=first") {
		t.Errorf("taken %q", got)
	}
	if got := l.String(); got != "" {
		t.Errorf("left %q", got)
	}
}
