package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

// quarters is a picture whose corners differ: red, green, blue, white, clockwise from
// the upper left one.
func quarters(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{255, 0, 0, 255}
			switch left, top := x < w/2, y < h/2; {
			case !left && top:
				c = color.RGBA{0, 255, 0, 255}
			case !left:
				c = color.RGBA{0, 0, 255, 255}
			case !top:
				c = color.RGBA{255, 255, 255, 255}
			}
			m.SetRGBA(x, y, c)
		}
	}
	return m
}

// withOrientation puts an EXIF block into a JPEG.
func withOrientation(t testing.TB, m image.Image, o uint16, order binary.AppendByteOrder) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	tiff := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		tiff = []byte("MM\x00*")
	}
	tiff = order.AppendUint32(tiff, 8)
	tiff = order.AppendUint16(tiff, 2)
	for _, e := range []struct{ tag, value uint16 }{{0x100, 7}, {0x112, o}} {
		tiff = order.AppendUint16(tiff, e.tag)
		tiff = order.AppendUint16(tiff, 3)
		tiff = order.AppendUint32(tiff, 1)
		tiff = order.AppendUint16(tiff, e.value)
		tiff = order.AppendUint16(tiff, 0)
	}
	body := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{}, b.Bytes()[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(body)+2))
	return append(append(out, body...), b.Bytes()[2:]...)
}

// corner says which colour a corner has.
func corner(m image.Image, right, bottom bool) string {
	b := m.Bounds()
	x, y := b.Min.X+b.Dx()/8, b.Min.Y+b.Dy()/8
	if right {
		x = b.Max.X - 1 - b.Dx()/8
	}
	if bottom {
		y = b.Max.Y - 1 - b.Dy()/8
	}
	r, g, bl, _ := m.At(x, y).RGBA()
	switch r, g, bl := r > 0x8000, g > 0x8000, bl > 0x8000; {
	case r && g && bl:
		return "W"
	case r:
		return "R"
	case g:
		return "G"
	case bl:
		return "B"
	}
	return "?"
}

func TestAPictureIsTurnedAsTheCameraWasHeld(t *testing.T) {
	// The corners clockwise from the upper left one, by the EXIF standard.
	want := []string{"RGBW", "GRWB", "BWRG", "WBGR", "RWBG", "WRGB", "BGRW", "GBWR"}
	for i, corners := range want {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			data := withOrientation(t, quarters(400, 200), uint16(i+1), order)
			out, w, h, err := resize(data, Size{Edge: 100})
			if err != nil {
				t.Fatal(err)
			}
			if tall := i >= 4; tall != (h > w) || max(w, h) != 100 || min(w, h) != 50 {
				t.Errorf("orientation %d: %d × %d", i+1, w, h)
			}
			m, err := jpeg.Decode(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			if got := corner(m, false, false) + corner(m, true, false) + corner(m, true, true) + corner(m, false, true); got != corners {
				t.Errorf("orientation %d: corners %s, want %s", i+1, got, corners)
			}
		}
	}
}

func TestSizesKeepTheShape(t *testing.T) {
	for _, x := range []struct{ w, h, edge, wantW, wantH int }{
		{1000, 500, 100, 100, 50}, {500, 1000, 100, 50, 100}, {80, 40, 100, 80, 40}, {10_000, 1, 100, 100, 1}, {1, 1, 1, 1, 1},
	} {
		if r := fit(image.Rect(5, 5, 5+x.w, 5+x.h), x.edge); r.Dx() != x.wantW || r.Dy() != x.wantH {
			t.Errorf("%v: %v", x, r)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, quarters(300, 100)); err != nil {
		t.Fatal(err)
	}
	out, w, h, err := resize(b.Bytes(), Size{Edge: 50, Square: true})
	if err != nil || w != 50 || h != 50 {
		t.Fatalf("%d × %d, %v", w, h, err)
	}
	m, _ := jpeg.Decode(bytes.NewReader(out))
	if got := corner(m, false, false) + corner(m, true, true); got != "RB" {
		t.Errorf("the middle of the picture has corners %s", got)
	}
}

func TestWhatIsTransparentBecomesWhite(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 40, 40))); err != nil {
		t.Fatal(err)
	}
	out, _, _, err := resize(b.Bytes(), sizes[0])
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := jpeg.Decode(bytes.NewReader(out)); corner(m, false, false) != "W" {
		t.Errorf("it is %v", m.At(5, 5))
	}
}

func TestWhatIsNoPictureIsRefused(t *testing.T) {
	var huge bytes.Buffer // says so in its first bytes
	if err := gif.Encode(&huge, image.NewPaletted(image.Rect(0, 0, 2, 2), color.Palette{color.Black}), nil); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(huge.Bytes()[6:], 60000)
	binary.LittleEndian.PutUint16(huge.Bytes()[8:], 60000)
	for name, x := range map[string]struct {
		data []byte
		why  string
	}{"nothing": {nil, "no JPEG"}, "text": {[]byte("hello"), "no JPEG"}, "a bomb": {huge.Bytes(), "larger than"}} {
		if err := look(x.data); err == nil || !strings.Contains(err.Error(), x.why) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, _, err := resize(x.data, sizes[0]); err == nil {
			t.Errorf("%s is resized", name)
		}
	}
}

func FuzzOrientation(f *testing.F) {
	f.Add(withOrientation(f, quarters(8, 8), 6, binary.BigEndian))
	f.Add(withOrientation(f, quarters(8, 8), 3, binary.LittleEndian))
	f.Fuzz(func(t *testing.T, data []byte) {
		if o := orientation(data); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
	})
}
