// Command load compares what hpabench attack, the vegeta command, hey and wrk can
// send on this machine, each as a process of its own, to nginx and to a server in Go
// on loopback. It prints medians and the ratios of ours to the others'. Requests
// are counted by the servers.
//
// It needs nginx and wrk on the PATH; hey and vegeta are built from their modules.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
)

const (
	heyModule    = "github.com/rakyll/hey@v0.1.5"
	vegetaModule = "github.com/tsenart/vegeta/v12@v12.13.0"
	connections  = 50
)

var (
	rounds   = flag.Int("rounds", 5, "of which the median is shown")
	duration = flag.Duration("duration", 3*time.Second, "of each measurement")
	serve    = flag.String("serve", "", "be the Go server, on this address")
	only     = flag.String("only", "", "regular expression for what is measured")
	dir      string
)

// sample is one measurement of one tool.
type sample struct {
	answered float64 // requests a second, as the server counted them
	cpu      float64 // seconds per million requests
	memory   float64 // peak, MiB
	p99      float64 // of the latency as the tool tells it, ms; NaN if it does not
	late     float64 // p99 of scheduled to sent, ms; hpabench only
	unsent   float64 // share of the plan
}

// tool is one of those that are compared.
type tool struct {
	name    string
	command func(url string, rate int) *exec.Cmd // rate 0: a closed loop
	open    bool                                 // it has an open loop
	figures func(s *sample, planned float64)
}

func main() {
	flag.Parse()
	if *serve != "" {
		server()
		return
	}
	var err error
	if dir, err = os.MkdirTemp("", "hpabench-bench-"); err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	build()
	for name, start := range map[string]func() (url string, stop func()){"nginx": nginx, "Go server": goServer} {
		url, stop := start()
		compare(name, url)
		stop()
	}
}

func build() {
	for _, args := range [][]string{{"install", heyModule}, {"install", vegetaModule}, {"build", "-o", filepath.Join(dir, "hpabench"), "./cmd/hpabench"}} {
		cmd := exec.Command("go", args...)
		cmd.Env, cmd.Stderr = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod"), io.Discard
		if err := cmd.Run(); err != nil {
			log.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
	}
}

func tools() []tool {
	seconds := fmt.Sprint(duration.Seconds())
	out, results := filepath.Join(dir, "out"), filepath.Join(dir, "results")
	return []tool{
		{"hpabench", func(url string, rate int) *exec.Cmd {
			os.RemoveAll(out)
			shape := fmt.Sprintf("workers: %d", connections)
			if rate > 0 {
				shape = fmt.Sprintf("rate: %d", rate)
			}
			file := filepath.Join(dir, "scenario.yaml")
			scenario := fmt.Sprintf("apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: bench}\nspec:\n  workload: {deployment: {image: nginx, port: 80, resources: {requests: {cpu: 1}}}}\n"+
				"  autoscaler: {max: 1}\n  load:\n    phases: [{name: all, duration: %ss, %s}]\n", seconds, shape)
			if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
				log.Fatal(err)
			}
			return exec.Command(filepath.Join(dir, "hpabench"), "attack", "-q", "--url", url, "--out", out, file)
		}, true, func(s *sample, planned float64) {
			var r struct {
				Load struct {
					Total struct {
						Unsent  float64
						LateP99 float64 `json:"lateP99Seconds"`
						Latency struct {
							P99 float64 `json:"p99Seconds"`
						}
					}
				}
			}
			read(filepath.Join(out, "result.json"), &r)
			s.p99, s.late, s.unsent = r.Load.Total.Latency.P99*1e3, r.Load.Total.LateP99*1e3, r.Load.Total.Unsent/planned
		}},
		{"vegeta", func(url string, rate int) *exec.Cmd {
			args := []string{"attack", "-duration=" + duration.String(), "-output=" + results, fmt.Sprintf("-rate=%d", rate)}
			if rate == 0 {
				args = append(args, fmt.Sprintf("-max-workers=%d", connections))
			}
			cmd := exec.Command(filepath.Join(dir, "vegeta"), args...)
			cmd.Stdin = strings.NewReader("GET " + url + "/\n")
			return cmd
		}, true, func(s *sample, planned float64) {
			report, err := exec.Command(filepath.Join(dir, "vegeta"), "report", "-type=json", results).Output()
			if err != nil {
				log.Fatal(err)
			}
			var r struct {
				Latencies struct {
					P99 float64 `json:"99th"`
				}
				Requests float64
			}
			if err := json.Unmarshal(report, &r); err != nil {
				log.Fatal(err)
			}
			s.p99, s.unsent = r.Latencies.P99/1e6, 1-r.Requests/planned
		}},
		{"hey", func(url string, _ int) *exec.Cmd {
			return exec.Command(filepath.Join(dir, "hey"), "-c", fmt.Sprint(connections), "-z", duration.String(), url+"/")
		}, false, nil},
		{"wrk", func(url string, _ int) *exec.Cmd {
			return exec.Command("wrk", "-c", fmt.Sprint(connections), "-t", "2", "-d", duration.String(), url+"/")
		}, false, nil},
	}
}

func read(file string, into any) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// compare measures all tools in turn, round by round, so that what else the machine
// does hits all of them.
func compare(server, url string) {
	capacity := 0
	for _, rate := range []int{0, 1000, 10_000, 20_000, -1} {
		title := fmt.Sprintf("%s: open loop, %d/s", server, rate)
		switch rate {
		case 0:
			title = fmt.Sprintf("%s: closed loop, %d connections", server, connections)
		case -1:
			rate = 2 * capacity
			title = fmt.Sprintf("%s: open loop, %d/s, twice what it answers", server, rate)
		}
		if ok, _ := regexp.MatchString(*only, title); !ok && rate != 0 {
			continue
		}
		samples := map[string][]sample{}
		for range *rounds {
			for _, t := range tools() {
				if rate == 0 || t.open {
					samples[t.name] = append(samples[t.name], measure(t, url, rate))
				}
			}
		}
		fmt.Printf("\n%s (medians of %d × %s)\n", title, *rounds, *duration)
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "tool\tanswered/s\thpabench is\tCPU s per million\tpeak MiB\tlatency p99 ms\tsent late p99 ms\tnever sent %\t")
		ours := median(samples["hpabench"], func(s sample) float64 { return s.answered })
		if rate == 0 {
			capacity = int(ours)
		}
		for _, t := range tools() {
			all := samples[t.name]
			if all == nil {
				continue
			}
			answered := median(all, func(s sample) float64 { return s.answered })
			fmt.Fprintf(w, "%s\t%.0f\t%.2f ×\t%.1f\t%.0f\t", t.name, answered, ours/answered,
				median(all, func(s sample) float64 { return s.cpu }), median(all, func(s sample) float64 { return s.memory }))
			if t.figures == nil {
				fmt.Fprint(w, "–\t")
			} else {
				fmt.Fprintf(w, "%.2f\t", median(all, func(s sample) float64 { return s.p99 }))
			}
			if rate == 0 || t.name != "hpabench" {
				fmt.Fprint(w, "–\t")
			} else {
				fmt.Fprintf(w, "%.2f\t", median(all, func(s sample) float64 { return s.late }))
			}
			if rate == 0 {
				fmt.Fprint(w, "–\t\n")
			} else {
				fmt.Fprintf(w, "%.2f\t\n", 100*median(all, func(s sample) float64 { return s.unsent }))
			}
		}
		w.Flush()
	}
}

func median(list []sample, of func(sample) float64) float64 {
	var values []float64
	for _, s := range list {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func measure(t tool, url string, rate int) sample {
	time.Sleep(300 * time.Millisecond)
	before := served(url)
	cmd := t.command(url, rate)
	if err := cmd.Run(); err != nil {
		log.Fatalf("%s: %v", cmd, err)
	}
	requests := served(url) - before
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	s := sample{answered: requests / duration.Seconds(), memory: float64(usage.Maxrss) / 1024,
		cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() / requests * 1e6}
	if t.figures != nil {
		t.figures(&s, max(1, float64(rate)*duration.Seconds()))
	}
	return s
}

// served is how many requests a server has answered, without this one.
func served(url string) float64 {
	resp, err := http.Get(url + "/status")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	m := regexp.MustCompile(`\d+ \d+ (\d+)`).FindSubmatch(body)
	if err != nil || m == nil {
		log.Fatalf("%s/status: %s, %v", url, body, err)
	}
	n, _ := strconv.ParseFloat(string(m[1]), 64)
	return n - 1
}

// address is a free one on loopback.
func address() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func nginx() (url string, stop func()) {
	at := address()
	config := fmt.Sprintf(`daemon off; worker_processes auto; error_log %[1]s/error.log; pid %[1]s/nginx.pid; worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen %[2]s backlog=4096; location / { return 200 "ok\n"; } location /status { stub_status; } } }`, dir, at)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		log.Fatal(err)
	}
	return start(exec.Command("nginx", "-c", file, "-e", filepath.Join(dir, "error.log")), at)
}

func goServer() (url string, stop func()) {
	at := address()
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	return start(exec.Command(self, "-serve", at), at)
}

func start(cmd *exec.Cmd, at string) (url string, stop func()) {
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	for range 100 {
		if conn, err := net.Dial("tcp", at); err == nil {
			conn.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "http://" + at, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
}

func server() {
	var n atomic.Int64
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		_, _ = io.WriteString(w, "ok\n")
	})
	http.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "0 0 %d\n", n.Add(1)) })
	log.Fatal(http.ListenAndServe(*serve, nil))
}
