package main

import (
	"regexp"
	"strings"
	"testing"
)

func TestHealthAsksTheBrokerThatRuns(t *testing.T) {
	_, out := serving(t, "--data-dir", t.TempDir())
	banner := until(t, out, "Ready after")
	addr := regexp.MustCompile(`metrics +(\S+)`).FindStringSubmatch(banner)
	if addr == nil {
		t.Fatalf("no address in\n%s", banner)
	}
	if said, err := command("health", "--addr", addr[1]).CombinedOutput(); err != nil || !strings.Contains(string(said), "is well") {
		t.Errorf("%v: %s", err, said)
	}
	asked := command("health")
	asked.Env = append(asked.Env, "LEVERET_METRICS_ADDR="+addr[1])
	if said, err := asked.CombinedOutput(); err != nil {
		t.Errorf("where the settings say: %v: %s", err, said)
	}
	off := command("health")
	off.Env = append(off.Env, "LEVERET_METRICS_ADDR=off")
	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"nobody":     {[]string{"--addr", "127.0.0.1:1"}, "no broker answers"},
		"not a port": {[]string{"--addr", "somewhere"}, "missing port"},
		"no time":    {[]string{"--addr", addr[1], "--timeout", "1ns"}, "no broker answers"},
	} {
		if said, err := command(append([]string{"health"}, c.args...)...).CombinedOutput(); err == nil || !strings.Contains(string(said), c.want) {
			t.Errorf("%s: %v: %s", what, err, said)
		}
	}
	if said, err := off.CombinedOutput(); err == nil || !strings.Contains(string(said), "metrics-addr is off") {
		t.Errorf("%v: %s", err, said)
	}
}
