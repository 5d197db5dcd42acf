package containers

import (
	"bufio"
	"io"
	"net"
	"testing"

	"github.com/valyala/fasthttp"
)

// BenchmarkHTTP compares a modelled nginx with a handler of fasthttp that does
// nothing, each with 16 connections that are kept alive. Its requests cost no
// modelled CPU time, so that the model's own work is what is measured.
func BenchmarkHTTP(b *testing.B) {
	bare := func(b *testing.B) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		s := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok\n") }}
		go s.Serve(l)
		b.Cleanup(func() { l.Close() })
		return l.Addr().String()
	}
	modelled := func(b *testing.B) string {
		_, address := serve(b, "nginx", `{"cpu": {"mean": "0s"}, "connectionCPU": "0s"}`)
		return address
	}
	for _, c := range []struct {
		name  string
		start func(*testing.B) string
	}{{"bare", bare}, {"modelled", modelled}} {
		b.Run(c.name, func(b *testing.B) {
			address := c.start(b)
			b.SetParallelism(8)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				r := bufio.NewReader(conn)
				var answer fasthttp.Response
				for p.Next() {
					if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
						b.Error(err)
						return
					}
					if err := answer.Read(r); err != nil || answer.StatusCode() != 200 {
						b.Errorf("status %d, %v", answer.StatusCode(), err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}
