package config

import (
	"strings"
	"testing"
)

func TestMergeTakesWhatIsLiveAndNamesWhatIsNot(t *testing.T) {
	running, err := load([]string{"--amqp-channel-max=10", "--data-dir=a", "--default-password=hunter2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	name := fileWith(t, "log-level = \"warn\"\n")
	next, err := load([]string{"--config=" + name, "--amqp-channel-max=20", "--data-dir=b", "--default-password=hunter3"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	merged, changes := Merge(running, next)
	if merged.AMQPChannelMax != 20 || merged.LogLevel != "warn" || merged.DataDir != "a" || merged.DefaultPassword != "hunter2" || merged.File() != name {
		t.Errorf("%+v", merged)
	}
	if running.AMQPChannelMax != 10 || running.LogLevel != "info" || running.Origin("log-level").Rank != FromDefault {
		t.Error("the settings that ran were changed")
	}
	if got := merged.Origin("log-level").String(); got != name+":1" {
		t.Errorf("the level comes from %s", got)
	}
	want := map[string]bool{"amqp-channel-max": true, "log-level": true, "data-dir": false, "default-password": false, "config": false}
	for _, c := range changes {
		live, known := want[c.Setting]
		if !known || c.Live != live || strings.Contains(c.Old+c.New, "hunter") || c.Old == c.New && c.Setting != "default-password" {
			t.Errorf("%+v", c)
		}
		delete(want, c.Setting)
	}
	if len(want) != 0 {
		t.Errorf("%v is not told", want)
	}
	if _, changes := Merge(Default(), Default()); len(changes) != 0 {
		t.Errorf("%+v", changes)
	}
	if merged, _ := Merge(&Config{}, next); merged.Origin("log-level").Rank != FromFile {
		t.Error("settings that were made by hand take no origin")
	}
}
