package reports

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// pageShown is what measurePage finds.
type pageShown struct {
	Overflow   float64 // pixels that the page is wider than its window
	Background string
	Figures    []struct {
		ID, Says     string
		Marks, Texts int
		Unpainted    int // marks whose color the page does not have
		Height       float64
	}
}

// A mark is a path that is painted in a color which is not the page's.
const measurePage = `({
	Overflow: document.documentElement.scrollWidth - window.innerWidth,
	Background: getComputedStyle(document.body).backgroundColor,
	Figures: [...document.querySelectorAll("figure")].map(f => ({
		ID: f.id, Says: f.querySelector("[role=img]").getAttribute("aria-label"),
		Height: f.querySelector("svg").getBoundingClientRect().height,
		Texts: [...f.querySelectorAll("text")].filter(x => x.getBoundingClientRect().width > 0).length,
		Marks: [...f.querySelectorAll("path")].filter(p => {
			const s = getComputedStyle(p), box = p.getBoundingClientRect(), color = s.stroke != "none" ? s.stroke : s.fill;
			return box.width + box.height > 2 && color.startsWith("rgb(") && color != getComputedStyle(document.body).backgroundColor;
		}).length,
		Unpainted: [...f.querySelectorAll("path, text")].filter(p => {
			const s = getComputedStyle(p);
			return s.stroke == "none" && (s.fill == "none" || s.fill == "rgb(0, 0, 0)");
		}).length})),
})`

// The page, as a browser has it: it asks for nothing, says nothing on the console, fits
// its window, and each picture has something in it, in both color schemes. With
// HPABENCH_SCREENSHOTS the pictures of it go to that folder.
func TestHTMLInBrowser(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI has no chromium")
		}
		t.Skip("there is no chromium here")
	}
	var mu sync.Mutex
	var said, asked []string
	listen := func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			said = append(said, string(e.Type))
		case *runtime.EventExceptionThrown:
			said = append(said, e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			said = append(said, e.Entry.Text)
		case *network.EventRequestWillBeSent:
			asked = append(asked, e.Request.URL)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox)...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(listen))
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	for name, r := range results(t) {
		var b bytes.Buffer
		if err := HTML(&b, r); err != nil {
			t.Fatal(err)
		}
		if b.Len() > 500_000 {
			t.Errorf("%s: the page has %d bytes", name, b.Len())
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write(b.Bytes())
		}))
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1200, 400} {
				said, asked = nil, nil
				if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
					t.Fatal(err)
				}
				if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900), chromedp.Navigate(server.URL)); err != nil {
					t.Fatal(err)
				}
				shown, err := chromedp.Run(ctx, chromedp.Evaluate[pageShown](measurePage))
				if err != nil {
					t.Fatal(err)
				}
				picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatal(err)
				}
				if dir := os.Getenv("HPABENCH_SCREENSHOTS"); dir != "" {
					file := filepath.Join(dir, filepath.Base(name)+"-"+scheme+map[int64]string{1200: "-wide", 400: "-narrow"}[width]+".png")
					if err := os.WriteFile(file, picture, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				mu.Lock()
				if len(said) > 0 || len(asked) != 1 || !strings.HasPrefix(asked[0], server.URL) {
					t.Errorf("%s, %s, %d: it said %q and asked for %q", name, scheme, width, said, asked)
				}
				mu.Unlock()
				if dark := shown.Background != "rgb(255, 255, 255)"; shown.Overflow > 0 || dark != (scheme == "dark") {
					t.Errorf("%s, %s, %d: it is %g px too wide, on %s", name, scheme, width, shown.Overflow, shown.Background)
				}
				if len(shown.Figures) < 3 {
					t.Errorf("%s has %d pictures", name, len(shown.Figures))
				}
				for _, f := range shown.Figures {
					if f.Marks < 5 || f.Unpainted > 0 || f.Texts < 3 || f.Height < 50 || !strings.Contains(f.Says, ":") {
						t.Errorf("%s, %s, %d: %+v", name, scheme, width, f)
					}
				}
			}
		}
		server.Close()
	}
}
