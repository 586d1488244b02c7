package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

// Generated pictures have the shape of a camera's, a sky, hills and a sun; the same
// seed makes the same ones.
const (
	generatedWidth  = 1600
	generatedHeight = 1067
)

// generated is the n-th picture of a seed.
func generated(seed uint64, n, width, height int) (name string, data []byte, err error) {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	hue := r.Float64()
	sunX, sunY, sun := r.Float64(), 0.1+0.3*r.Float64(), 0.04+0.05*r.Float64()
	type hill struct{ base, high, wide, at float64 }
	hills := make([]hill, 4)
	for i := range hills {
		hills[i] = hill{0.45 + 0.13*float64(i), 0.03 + 0.08*r.Float64(), 2 + 5*r.Float64(), 2 * math.Pi * r.Float64()}
	}
	// Colours from a table: of sky, sun and hills, by lightness.
	const steps = 256
	var colours [2 + 4][steps]color.RGBA
	for kind := range colours {
		h := hue
		switch {
		case kind == 1:
			h = 0.13
		case kind > 1:
			h = hue + 0.3 + 0.05*float64(kind-2)
		}
		for l := range steps {
			colours[kind][l] = shade(h, float64(l)/steps)
		}
	}
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	line := make([]float64, len(hills))
	for x := range width {
		fx := float64(x) / float64(width)
		for i, h := range hills {
			line[i] = h.base + h.high*(math.Sin(h.wide*fx*math.Pi+h.at)+0.3*math.Sin(5*h.wide*fx+h.at))
		}
		for y := range height {
			fy := float64(y) / float64(height)
			kind, light := 0, 0.95-0.4*fy
			dx, dy := fx-sunX, (fy-sunY)*float64(height)/float64(width)
			if dx*dx+dy*dy < sun*sun {
				kind, light = 1, 0.97
			}
			for i := range hills {
				if fy > line[i] {
					kind, light = 2+i, 0.65-0.13*float64(i)+0.1*(fy-line[i])
				}
			}
			// A grain, as a camera has: without it a JPEG of this is a few kilobytes.
			light += float64(uint32(x*7919+y*104729)*2654435761>>24)/255*0.05 - 0.025
			m.SetRGBA(x, y, colours[kind][int(steps*math.Max(0, math.Min(0.999, light)))])
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 88}); err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("generated-%03d.jpg", n+1), b.Bytes(), nil
}

// shade is a colour of a hue (0 to 1, around) and a lightness.
func shade(hue, light float64) color.RGBA {
	part := func(at float64) uint8 {
		v := light * (0.75 + 0.25*math.Cos(2*math.Pi*(hue-at)))
		return uint8(255 * math.Max(0, math.Min(1, v)))
	}
	return color.RGBA{part(0), part(1.0 / 3), part(2.0 / 3), 255}
}
