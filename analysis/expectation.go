package analysis

// Outcomes of an Expectation.
const (
	Met    = "met"
	Missed = "missed"
)

// Expectation is a condition on the figures of a result. Detail has those that
// it uses, with their precision, or why there are none.
type Expectation struct {
	Expression string `json:"expression"`
	Outcome    string `json:"outcome"`
	Detail     string `json:"detail"`
}
