export async function charge(amount: number): Promise<any> {
  return { charged: amount, real: true };
}
