package record

// loadLine decodes the line of a LoadSecond as this package writes it, of which a long record
// has one for each second: a tenth of the time that a decoder of any JSON takes. It is
// false for whatever else there is, which may be right all the same.
func (d *decoder) loadLine(line []byte, e *Entry) bool {
	s := scanner{rest: line, ok: true}
	if !s.at(e, `,"load":{`) {
		return false
	}
	l := new(LoadSecond)
	for first := true; s.ok && !s.has("}}"); first = false {
		if !first {
			s.take(",")
		}
		key := s.text()
		s.take(":")
		switch string(key) {
		case "worker":
			l.Worker = int(s.count())
		case "phase":
			l.Phase = int(s.count())
		case "second":
			l.Second = int(s.count())
		case "offered":
			l.Offered = s.count()
		case "sent":
			l.Sent = s.count()
		case "unsent":
			l.Unsent = s.count()
		case "answered":
			l.Answered = s.count()
		case "failed":
			l.Failed = s.count()
		case "aborted":
			l.Aborted = s.count()
		case "codes":
			s.ok = s.ok && l.Codes == nil // two would be one
			l.Codes = d.countsOf(&s)
		case "errors":
			s.ok = s.ok && l.Errors == nil
			l.Errors = d.countsOf(&s)
		case "bytesIn":
			l.BytesIn = s.count()
		case "bytesOut":
			l.BytesOut = s.count()
		case "late":
			l.Late = s.count()
		case "lateMaxSeconds":
			l.LateMax = s.float()
		case "lateness":
			l.Lateness = Histogram(s.text())
		case "slowConnects":
			l.SlowConnects = s.count()
		case "latency":
			l.Latency = Histogram(s.text())
		default:
			return false
		}
	}
	if !s.ok || len(s.rest) > 0 {
		return false
	}
	e.Load = l
	return true
}
