package config

import (
	"fmt"
	"strconv"
)

// Watermark is an amount of memory, given as a part of all there is, as a size, or as off. It
// is a pflag.Value.
type Watermark struct {
	// Part is a part of the memory; 0 when it was given otherwise.
	Part float64
	// Bytes is the amount; 0 when it was given otherwise.
	Bytes Size
}

// minWatermark is the least size: below it an idle broker would stand still.
const minWatermark = 64 << 20

// parseWatermark reads a Watermark.
func parseWatermark(text string) (w Watermark, err error) {
	if text == Off {
		return w, nil
	}
	if part, err := strconv.ParseFloat(text, 64); err == nil && part > 0 && part <= 1 {
		return Watermark{Part: part}, nil
	}
	if w.Bytes, err = parseSize(text); err != nil || w.Bytes < minWatermark {
		return Watermark{}, fmt.Errorf("%q is neither a part of the memory such as 0.6, nor a size of at least %s such as 2GiB, nor off", text, Size(minWatermark))
	}
	return w, nil
}

// Of is the amount in bytes where there is so much memory; 0 when it is off, or a part of an
// amount that can't be told.
func (w Watermark) Of(memory int64) int64 {
	if w.Part > 0 {
		return int64(w.Part * float64(memory))
	}
	return int64(w.Bytes)
}

// Set is parseWatermark into w.
func (w *Watermark) Set(text string) (err error) {
	parsed, err := parseWatermark(text)
	if err == nil {
		*w = parsed
	}
	return err
}

// String writes it as it can be read.
func (w Watermark) String() string {
	switch {
	case w.Part > 0:
		return strconv.FormatFloat(w.Part, 'g', -1, 64)
	case w.Bytes > 0:
		return w.Bytes.String()
	}
	return Off
}

// Type names the kind of value in --help.
func (w *Watermark) Type() string { return "memory" }
