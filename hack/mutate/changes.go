package main

import (
	"go/ast"
	"go/token"
	"strconv"
)

// others are the operators that stand in for one.
var others = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO},
}

// each makes one change after another and undoes it when it has been seen.
func each(tree *ast.File, seen func(node ast.Node, what string)) {
	ast.Inspect(tree, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.GenDecl:
			// Constants and types say nothing that could be noticed.
			return false
		case *ast.BinaryExpr:
			operator := n.Op
			for _, other := range others[operator] {
				n.Op = other
				seen(n, operator.String()+" became "+other.String())
			}
			n.Op = operator
		case *ast.UnaryExpr:
			swap(n, seen)
		case *ast.BasicLit:
			number(n, seen)
		case *ast.Ident:
			word(n, seen)
		case *ast.BlockStmt:
			without(n.List, seen)
		case *ast.CaseClause:
			without(n.Body, seen)
		}
		return true
	})
}

// swap drops a negation.
func swap(n *ast.UnaryExpr, seen func(ast.Node, string)) {
	operand := n.X
	if n.Op != token.NOT && n.Op != token.SUB {
		return
	}
	// Twice is not at all.
	n.X = &ast.UnaryExpr{Op: n.Op, X: &ast.ParenExpr{X: operand}}
	seen(n, "a "+n.Op.String()+" is gone")
	n.X = operand
}

// number adds one to a whole number.
func number(n *ast.BasicLit, seen func(ast.Node, string)) {
	if n.Kind != token.INT {
		return
	}
	text := n.Value
	value, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return
	}
	n.Value = strconv.FormatInt(value+1, 10)
	seen(n, text+" became "+n.Value)
	n.Value = text
}

// word takes another of two built-in words.
func word(n *ast.Ident, seen func(ast.Node, string)) {
	opposite := map[string]string{"true": "false", "false": "true", "min": "max", "max": "min"}[n.Name]
	if opposite == "" || n.Obj != nil {
		return
	}
	name := n.Name
	n.Name = opposite
	seen(n, name+" became "+opposite)
	n.Name = name
}

// without leaves out one statement after another that only has an effect.
func without(list []ast.Stmt, seen func(ast.Node, string)) {
	for i, statement := range list {
		if assigned, ok := statement.(*ast.AssignStmt); ok && assigned.Tok == token.DEFINE {
			continue
		} else if _, called := statement.(*ast.ExprStmt); !ok && !called {
			continue
		}
		list[i] = &ast.EmptyStmt{}
		seen(statement, "a statement is gone")
		list[i] = statement
	}
}
