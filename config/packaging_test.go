package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What is shipped as an example can be used as it stands, and with any of its lines taken in.
func TestThePackagedFileIsOneOfSettings(t *testing.T) {
	const name = "../packaging/leveret.toml"
	c, err := load([]string{"--config", name}, nil)
	if err != nil || c.DataDir != "/var/lib/leveret/data" || len(c.Warnings()) != 0 {
		t.Fatalf("%v %q", err, c.Warnings())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^# ([a-z-]+ = )`).ReplaceAllString(string(text), "$1")
	all = strings.Replace(all, "/etc/leveret/password", fileWith(t, "hunter2\n"), 1)
	if all == string(text) {
		t.Fatal("there are no lines to take in")
	}
	if _, err := load([]string{"--config", fileWith(t, all)}, nil); err != nil {
		t.Error(err)
	}
}

// A container that is looked into has every port that a broker listens at by default, or as soon as it has a certificate.
func TestTheContainerExposesWhatListens(t *testing.T) {
	text, err := os.ReadFile("../packaging/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	exposed := strings.Fields(regexp.MustCompile(`(?m)^EXPOSE (.*)$`).FindStringSubmatch(string(text))[1])
	var listens []string
	for _, s := range settings(new(Config)) {
		if port := regexp.MustCompile(`^:(\d+)$`).FindStringSubmatch(s.Default); port != nil {
			listens = append(listens, port[1])
		} else if port := regexp.MustCompile(`auto is :(\d+)`).FindStringSubmatch(s.Usage); port != nil {
			listens = append(listens, port[1])
		}
	}
	slices.Sort(exposed)
	slices.Sort(listens)
	if !slices.Equal(exposed, listens) {
		t.Errorf("exposed are %v, of what listens %v", exposed, listens)
	}
}
