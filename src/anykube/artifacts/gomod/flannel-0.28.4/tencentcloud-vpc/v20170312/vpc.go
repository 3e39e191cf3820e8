// Package v20170312 stands in for the Tencent Cloud VPC client, so that flanneld links without that large
// optional dependency. It has only the names that flannel's tencent-vpc backend uses. Choosing that backend
// ends in ErrNotIncluded; every other backend of flannel is unaffected.
package v20170312

import "errors"

// ErrNotIncluded is what every call answers.
var ErrNotIncluded = errors.New("the tencent-vpc backend is not included in this build of flannel")

// Client has no connection to anything.
type Client struct{}

// Filter names what a request selects.
type Filter struct {
	Name   *string
	Values []*string
}

// Route is one entry of a route table.
type Route struct {
	RouteId              *uint64
	DestinationCidrBlock *string
	GatewayId            *string
	GatewayType          *string
	RouteType            *string
	Enabled              *bool
}

// RouteTable is a list of routes.
type RouteTable struct {
	RouteTableId *string
	RouteSet     []*Route
}

// DescribeRouteTablesRequest asks for route tables.
type DescribeRouteTablesRequest struct{ Filters []*Filter }

// DescribeRouteTablesResponse would hold route tables.
type DescribeRouteTablesResponse struct {
	Response *struct{ RouteTableSet []*RouteTable }
}

// ChangeRoutesRequest asks for routes to be made or removed.
type ChangeRoutesRequest struct {
	RouteTableId *string
	Routes       []*Route
}

// ChangeRoutesResponse is empty.
type ChangeRoutesResponse struct{}

// NewClientWithSecretId always refuses.
func NewClientWithSecretId(_, _, _ string) (*Client, error) { return &Client{}, ErrNotIncluded }

// NewDescribeRouteTablesRequest returns an empty request.
func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest { return &DescribeRouteTablesRequest{} }

// NewCreateRoutesRequest returns an empty request.
func NewCreateRoutesRequest() *ChangeRoutesRequest { return &ChangeRoutesRequest{} }

// NewDeleteRoutesRequest returns an empty request.
func NewDeleteRoutesRequest() *ChangeRoutesRequest { return &ChangeRoutesRequest{} }

// DescribeRouteTables always refuses.
func (c *Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, ErrNotIncluded
}

// CreateRoutes always refuses.
func (c *Client) CreateRoutes(*ChangeRoutesRequest) (*ChangeRoutesResponse, error) {
	return nil, ErrNotIncluded
}

// DeleteRoutes always refuses.
func (c *Client) DeleteRoutes(*ChangeRoutesRequest) (*ChangeRoutesResponse, error) {
	return nil, ErrNotIncluded
}
